"""The work that was really done, read from responses, and the throughput that it shows."""
