"""The proxy that worker and client share: one request's story, told once."""
