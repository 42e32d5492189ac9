"""TLS for a server's connections: the port, and the handshake of those that come."""

from __future__ import annotations

from typing import Any, Protocol

from OpenSSL import SSL
from twisted.internet import tcp
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IHandshakeListener, IProtocolFactory

from vespa.transport.tls_readiness import OPEN, Phase
from vespa.transport.tls_transport import TLSTransport

# Said in plain to a client that forgot the s of https, as it understands nothing else.
TLS_REQUIRED = (
    b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: 40\r\n\r\n"
    b"This port speaks TLS: ask for https://.\n"
)


class Contexts(Protocol):
    """Where a port finds the context for its next connection."""

    @property
    def current(self) -> SSL.Context: ...


class TLSServerTransport(TLSTransport, tcp.Server):
    """
    The server's end of a TLS connection.

    connectionMade comes before the handshake, as with Twisted's own; what is written until then waits. How long the
    handshake may take is for the protocol to limit.
    """

    _phase = Phase.HANDSHAKE

    def __init__(self, sock: Any, protocol: Any, client: Any, server: TLSPort, sessionno: int, reactor: Any) -> None:
        tls = SSL.Connection(server.contexts.current, sock)
        tls.set_accept_state()
        self._use(tls)
        super().__init__(sock, protocol, client, server, sessionno, reactor)

    def _unblock(self) -> ConnectionLost | None:
        handshake = self._phase is Phase.HANDSHAKE or self._phase is Phase.HANDSHAKE_BLOCKED
        return self._shake_hands() if handshake else super()._unblock()

    def _shake_hands(self) -> ConnectionLost | None:
        try:
            self._tls.do_handshake()
        except SSL.WantReadError:
            self._enter(Phase.HANDSHAKE)
        except SSL.WantWriteError:
            self._enter(Phase.HANDSHAKE_BLOCKED)
        except SSL.Error as error:
            return self._fail(error)
        else:
            self.negotiatedProtocol = self._tls.get_alpn_proto_negotiated() or None
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
        if self._phase is Phase.HANDSHAKE:
            self._watch()


class TLSPort(tcp.Port):
    """A listening port of `TLSServerTransport`s, each under the context that is current when it comes."""

    transport = TLSServerTransport  # type: ignore[assignment]
    _type = "TLS"

    def __init__(
        self, port: int, factory: IProtocolFactory, contexts: Contexts, backlog: int, interface: str, reactor: Any
    ) -> None:
        self.contexts = contexts
        super().__init__(port, factory, backlog, interface, reactor)
