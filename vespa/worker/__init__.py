"""The worker: it verifies signed requests, passes them to a backend, and reports to the autoscaler."""
