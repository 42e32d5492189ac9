"""A listening unix socket that makes our own transports. Only for systems with unix sockets."""

from __future__ import annotations

from twisted.internet import unix

from vespa.transport.accept import Port


class UNIXPort(Port, unix.Port):
    """A unix port that makes `ServerTransport`s. Unlike Twisted's, it does not pass descriptors on."""
