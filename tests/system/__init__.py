"""Real processes on this machine."""

slow = True
