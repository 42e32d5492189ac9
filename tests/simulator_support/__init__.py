"""The simulator with what only tests need: faults on demand, more APIs, counts, TLS, and processes that are killed."""
