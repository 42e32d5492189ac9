"""
Twisted's own TLS, for systems without our own sockets: listening, and connecting to an IP address.

A listening port takes the same certificates, which can be replaced while it is open. For connecting, Twisted's
endpoint reports a connection before the handshake. This one waits until the server is verified, by the same rules,
with the same errors and within the same time limit as `tls_connect`.
"""

from __future__ import annotations

import socket
from typing import Any, Protocol

from attrs import frozen
from OpenSSL import SSL
from twisted.internet.defer import CancelledError, Deferred, execute
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.error import ConnectError, TimeoutError
from twisted.internet.interfaces import (
    IHandshakeListener,
    IListeningPort,
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
    IProtocolFactory,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from twisted.internet.protocol import Factory
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from vespa.transport.errors import NoTLS
from vespa.transport.openssl import forget_errors
from vespa.transport.tls_connect import TLSConnectingEndpoint


class Contexts(Protocol):
    """The source of the context for a port's next connection."""

    @property
    def current(self) -> SSL.Context: ...


@implementer(IOpenSSLServerConnectionCreator)
@frozen
class _ServerCreator:
    contexts: Contexts

    def serverConnectionForTLS(self, tlsProtocol: object) -> SSL.Connection:
        """OpenSSL on memory. Twisted moves its data to and from the socket."""
        return SSL.Connection(self.contexts.current, None)


@implementer(IStreamServerEndpoint)
@frozen
class StockTLSServerEndpoint:
    """Listens for TLS on TCP. Each connection gets the context that is current when it connects."""

    reactor: Any
    port: int
    interface: str
    backlog: int
    context_source: Contexts

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Fires with the listening port, or fails with CannotListenError."""
        factory = TLSMemoryBIOFactory(_ServerCreator(self.context_source), False, protocolFactory, self.reactor)
        return execute(self.reactor.listenTCP, self.port, factory, self.backlog, self.interface)


@implementer(IOpenSSLClientConnectionCreator)
@frozen
class _ClientCreator:
    rules: TLSConnectingEndpoint

    def clientConnectionForTLS(self, tlsProtocol: object) -> SSL.Connection:
        return self.rules.begin(None)


@implementer(IHandshakeListener)
class _HandshakeWatch(TwistedProtocol):
    """Takes the place of the connection's protocol until the server is verified."""

    def __init__(self, attempt: _Attempt) -> None:
        self._attempt = attempt

    def handshakeCompleted(self) -> None:
        self._attempt.handshake_done(self.transport)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self._attempt.lost(reason.value, self.transport)


class _Attempt:
    """One call of `connect`. `result` fires once, when the server is verified or the attempt has failed."""

    def __init__(self, reactor: Any, rules: TLSConnectingEndpoint, factory: IProtocolFactory, seconds: float) -> None:
        self.result: Deferred[Any] = Deferred(lambda _: self._end())
        self._rules = rules
        self._factory = factory
        self._connecting: Deferred[Any] | None = None
        self._transport: Any = None
        self._over = False
        self._timer = reactor.callLater(seconds, lambda: self._fail(TimeoutError()))

    def begin(self, endpoint: IStreamClientEndpoint) -> None:
        watches = Factory.forProtocol(lambda: _HandshakeWatch(self))
        watches.noisy = False
        self._connecting = endpoint.connect(watches)
        self._connecting.addCallbacks(self._connected, self._not_connected)

    def _connected(self, watch: _HandshakeWatch) -> None:
        self._connecting = None
        if not self._over:
            self._transport = watch.transport

    def _not_connected(self, failure: Failure) -> None:
        self._connecting = None
        if not failure.check(CancelledError):
            self._fail(failure.value or ConnectError())

    def handshake_done(self, transport: Any) -> None:
        """The handshake is done: verify the server, and hand the connection to its own protocol."""
        if self._over:
            return
        self._transport = transport
        try:
            self._rules.verify(transport.getHandle())
        except ConnectError as error:
            self._fail(error)
            return
        self._over = True
        self._timer.cancel()
        protocol: Any = self._factory.buildProtocol(transport.getPeer())
        transport.wrappedProtocol = protocol
        protocol.makeConnection(transport)
        self.result.callback(protocol)

    def lost(self, error: BaseException | None, transport: Any) -> None:
        """The connection ended before the server was verified."""
        self._transport = None
        if isinstance(error, SSL.Error):
            forget_errors()
            self._fail(self._rules.explain(error, transport.getHandle()))
        else:
            self._fail(NoTLS(f"{self._rules.place}: the server closed the connection"))

    def _fail(self, error: BaseException) -> None:
        if not self._over:
            self._end()
            self.result.errback(Failure(error))

    def _end(self) -> None:
        self._over = True
        if self._timer.active():
            self._timer.cancel()
        if self._connecting is not None:
            self._connecting.cancel()
        if self._transport is not None:
            self._transport.abortConnection()


@implementer(IStreamClientEndpoint)
class StockTLSEndpoint:
    """Like `TLSConnectingEndpoint`, without resumed sessions, over any endpoint of Twisted's."""

    def __init__(
        self, reactor: Any, endpoint: IStreamClientEndpoint, host: str, port: int, seconds: float, trust: Any
    ) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._rules = TLSConnectingEndpoint(reactor, family, (host, port), seconds, trust)
        self._endpoint = wrapClientTLS(_ClientCreator(self._rules), endpoint, reactor)
        self._reactor = reactor
        self._seconds = seconds

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        attempt = _Attempt(self._reactor, self._rules, protocolFactory, self._seconds)
        attempt.begin(self._endpoint)
        return attempt.result
