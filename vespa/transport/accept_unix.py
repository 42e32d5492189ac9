"""A listening unix socket whose connections are our own transports; only where the system has unix sockets."""

from __future__ import annotations

from twisted.internet import unix

from vespa.transport.accept import Port


class UNIXPort(Port, unix.Port):
    """A unix port of `ServerTransport`s. It does not pass descriptors on, as Twisted's own does."""
