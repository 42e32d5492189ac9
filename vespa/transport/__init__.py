"""Sockets, TLS and the reactor on Twisted."""
