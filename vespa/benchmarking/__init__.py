"""Measuring a backend with a user's function: the contract it is written to, the process it runs in, its session."""
