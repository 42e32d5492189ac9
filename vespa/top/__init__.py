"""`vespa-proxy top`: the figures of a running worker or client in a terminal."""
