"""One configuration for all commands: what can be set, how it is read, and how it is documented."""
