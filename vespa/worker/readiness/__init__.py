"""Whether a backend can serve requests: health probes, the benchmark's figure, and what was seen so far."""
