"""Listening ports that make our own transports: each connection has one object besides its protocol."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet import tcp
from twisted.logger import Logger

from vespa.transport.socket_transport import AF_UNIX, ServerTransport, address_of

_log = Logger()


class Port(tcp.Port):
    """
    A TCP port, IPv4 or IPv6, that makes `ServerTransport`s.

    As in Twisted, one turn accepts about as many connections as came in the turn before.
    """

    transport: Any = ServerTransport

    def startListening(self) -> None:
        """Listen. Raises CannotListenError."""
        super().startListening()
        if self.addressFamily != AF_UNIX:
            # Linux applies it to each accepted connection, which saves a call for each.
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def doRead(self) -> None:
        """Accept the waiting connections."""
        most = self.numberAccepts
        listener: Any = self.socket
        accept = listener._accept
        for accepted in range(most):
            try:
                number, name = accept()
            except BlockingIOError:
                self.numberAccepts = max(1, accepted)
                return
            except OSError:  # no descriptor is left, for example: Twisted meets the error again and handles it
                super().doRead()  # type: ignore[no-untyped-call]
                return
            try:
                # Like `socket.accept`, without its look-up of two enumerations, which takes as long as the rest.
                self._connect(socket.socket(self.addressFamily, socket.SOCK_STREAM, 0, number), name)
            except Exception:
                _log.failure("a new connection could not be set up")
        self.numberAccepts = most + 20

    def _connect(self, sock: socket.socket, name: Any) -> None:
        if self.addressFamily == socket.AF_INET6 and name[3]:  # a link-local IPv6 address, which includes its link
            host, _ = socket.getnameinfo(name, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)
            name = (host, *name[1:])
        factory: Any = self.factory
        protocol = factory.buildProtocol(address_of(self.addressFamily, name))
        if protocol is None:
            sock.close()
            return
        self.sessionno += 1
        protocol.makeConnection(self.transport(sock, protocol, name, self, self.sessionno, self.reactor))
