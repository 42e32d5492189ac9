"""Listening ports whose connections are our own transports: one object for each connection besides its protocol."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet import tcp
from twisted.logger import Logger

from vespa.transport.socket_transport import AF_UNIX, ServerTransport, address_of

_log = Logger()


class Port(tcp.Port):
    """
    A TCP port, IPv4 or IPv6, of `ServerTransport`s.

    How many connections are accepted in one turn is Twisted's rule: about as many as came in the turn before.
    """

    transport: Any = ServerTransport

    def startListening(self) -> None:
        """Listen. Raises CannotListenError."""
        super().startListening()
        if self.addressFamily != AF_UNIX:
            # Linux hands it down to each connection, which saves a call for each.
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def doRead(self) -> None:
        """Accept what has come."""
        most = self.numberAccepts
        listener: Any = self.socket
        accept = listener._accept
        for accepted in range(most):
            try:
                number, name = accept()
            except BlockingIOError:
                self.numberAccepts = max(1, accepted)
                return
            except OSError:  # no descriptor is left, or the like: Twisted meets it again, and knows what to do
                super().doRead()  # type: ignore[no-untyped-call]
                return
            try:
                # What `socket.accept` does, but for looking up two enumerations, which takes as long as the rest.
                self._connect(socket.socket(self.addressFamily, socket.SOCK_STREAM, 0, number), name)
            except Exception:
                _log.failure("a connection could not be taken")
        self.numberAccepts = most + 20

    def _connect(self, sock: socket.socket, name: Any) -> None:
        if self.addressFamily == socket.AF_INET6 and name[3]:  # an IPv6 address of one link: which link is a part of it
            host, _ = socket.getnameinfo(name, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)
            name = (host, *name[1:])
        factory: Any = self.factory
        protocol = factory.buildProtocol(address_of(self.addressFamily, name))
        if protocol is None:
            sock.close()
            return
        self.sessionno += 1
        protocol.makeConnection(self.transport(sock, protocol, name, self, self.sessionno, self.reactor))
