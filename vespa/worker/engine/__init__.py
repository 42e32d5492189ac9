"""What knows the engine's own interface: work is stopped when its caller leaves, and jobs outlive their requests."""
