"""The worker: signed requests in, a backend behind, and an autoscaler that is told of both."""
