"""What operators see of a proxy: metrics, the access log, the status page."""
