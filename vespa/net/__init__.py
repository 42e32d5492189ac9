"""What Vespa says and does for itself on the network: services, deadlines, calls, the autoscaler."""
