"""TLS for a server's connections: the port, and the handshake."""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IHandshakeListener, IProtocolFactory

from vespa.transport.accept import Port
from vespa.transport.socket_transport import Accepted
from vespa.transport.tls_readiness import OPEN, Phase
from vespa.transport.tls_stock import Contexts
from vespa.transport.tls_transport import TLSTransport

# Sent without TLS to a client that used http:// instead of https://, because it understands nothing else.
TLS_REQUIRED = (
    b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: 40\r\n\r\n"
    b"This port speaks TLS: ask for https://.\n"
)


class TLSServerTransport(Accepted, TLSTransport):
    """
    The server's end of a TLS connection.

    As with Twisted's own, connectionMade comes before the handshake, and data written until then waits. The protocol
    limits the time of the handshake.
    """

    phase = Phase.HANDSHAKE

    def __init__(self, sock: Any, protocol: Any, client: Any, server: TLSPort, sessionno: int, reactor: Any) -> None:
        tls = SSL.Connection(server.contexts.current, sock)
        tls.set_accept_state()
        self._use(tls)
        super().__init__(sock, protocol, client, server, sessionno, reactor)

    def _unblock(self) -> ConnectionLost | None:
        handshake = self.phase is Phase.HANDSHAKE or self.phase is Phase.HANDSHAKE_BLOCKED
        return self._shake_hands() if handshake else super()._unblock()

    def _shake_hands(self) -> ConnectionLost | None:
        try:
            self.tls.do_handshake()
        except SSL.WantReadError:
            self._enter(Phase.HANDSHAKE)
        except SSL.WantWriteError:
            self._enter(Phase.HANDSHAKE_BLOCKED)
        except SSL.Error as error:
            return self._fail(error)
        else:
            self.negotiatedProtocol = self.tls.get_alpn_proto_negotiated() or None
            self._enter(OPEN)
            if IHandshakeListener.providedBy(self.protocol):
                self.protocol.handshakeCompleted()
        return None

    def _answer_plain(self, reasons: list[str]) -> None:
        if "http request" in reasons:
            try:
                self.socket.send(TLS_REQUIRED)
            except OSError:
                pass

    def loseConnection(self) -> None:
        super().loseConnection()  # type: ignore[no-untyped-call]
        if self.phase is Phase.HANDSHAKE:
            self._watch()


class TLSPort(Port):
    """
    A listening port that makes `TLSServerTransport`s, each with the context that is current when it connects.

    It accepts one in each turn: the server's signature takes a third of a millisecond, and in a burst the requests of
    earlier connections would wait for all signatures.
    """

    transport = TLSServerTransport

    def __init__(
        self, port: int, factory: IProtocolFactory, contexts: Contexts, backlog: int, interface: str, reactor: Any
    ) -> None:
        self.contexts = contexts
        super().__init__(port, factory, backlog, interface, reactor)

    def doRead(self) -> None:
        """Accept one connection."""
        self.numberAccepts = 1
        super().doRead()
