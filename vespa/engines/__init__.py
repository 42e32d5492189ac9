"""What Vespa knows of inference servers' own interfaces: how to stop work, and how to see whether a job is done."""
