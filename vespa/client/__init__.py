"""The client: a local proxy through which any SDK calls a Vast.ai endpoint."""
