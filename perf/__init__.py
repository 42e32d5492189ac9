"""Measures what Vespa costs, beside nginx, on the machine it is run on: `python -m perf`."""
