"""What an operator sees of a proxy: metrics, log lines, and the status page."""
