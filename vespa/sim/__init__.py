"""A stand-in for Vast.ai: an autoscaler, a console and a backend, for the demonstration and the tests."""
