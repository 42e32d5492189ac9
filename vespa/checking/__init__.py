"""`vespa-proxy check` and `vespa-proxy benchmark`: they examine what a worker or a client would meet."""
