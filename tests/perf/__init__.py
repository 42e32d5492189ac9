"""The measuring harness itself; no time is tested."""
