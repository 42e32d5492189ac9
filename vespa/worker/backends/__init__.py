"""The way to one backend or to several: connections, choice, slots and readiness."""
