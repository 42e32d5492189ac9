"""
Listening ports from endpoint strings: with our own transports if possible, otherwise with Twisted's.

For `ssl:` the certificate can be replaced while the port is open.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final, cast

from attrs import field, frozen
from twisted.internet.defer import Deferred, execute
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.internet.posixbase import PosixReactorBase
from zope.interface import implementer

from vespa.transport.accept import Port
from vespa.transport.certificates import Certificate
from vespa.transport.choice import is_fast
from vespa.transport.endpoint_strings import split
from vespa.transport.tls_server import TLSPort
from vespa.transport.tls_stock import Contexts, StockTLSServerEndpoint

BACKLOG = 1024


class _Endpoint:
    """Opens the port that `make_port` makes."""

    def make_port(self, factory: IProtocolFactory) -> Any:
        """A port that is not listening yet."""
        raise NotImplementedError

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Fires with the listening port, or fails with CannotListenError."""
        return execute(self._listen, protocolFactory)

    def _listen(self, factory: IProtocolFactory) -> IListeningPort:
        port = self.make_port(factory)
        port.startListening()
        return cast(IListeningPort, port)


@implementer(IStreamServerEndpoint)
@frozen
class TCPEndpoint(_Endpoint):
    """Listens on TCP. `interface` is an IPv4 or IPv6 address, or empty."""

    reactor: Any
    port: int = field(converter=int)
    interface: str = ""
    backlog: int = field(default=BACKLOG, converter=int)

    def make_port(self, factory: IProtocolFactory) -> Any:
        return Port(self.port, factory, self.backlog, self.interface, self.reactor)


def _octal(mode: int | str) -> int:
    return int(mode, 8) if isinstance(mode, str) else mode


@implementer(IStreamServerEndpoint)
@frozen
class UNIXEndpoint(_Endpoint):
    """Listens on a unix socket. With `lockfile` it replaces a socket that another process has left behind."""

    reactor: Any
    address: str
    mode: int = field(default=0o666, converter=_octal)
    backlog: int = field(default=BACKLOG, converter=int)
    lockfile: int = field(default=1, converter=int)

    def make_port(self, factory: IProtocolFactory) -> Any:
        from vespa.transport.accept_unix import UNIXPort  # not on every system

        return UNIXPort(os.fsencode(self.address), factory, self.backlog, self.mode, self.reactor, bool(self.lockfile))


@implementer(IStreamServerEndpoint)
@frozen
class TLSEndpoint(_Endpoint):
    """Listens for TLS on TCP. `interface` is an IPv4 or IPv6 address, or empty."""

    reactor: Any
    port: int
    interface: str
    backlog: int
    context_source: Contexts

    def make_port(self, factory: IProtocolFactory) -> Any:
        return TLSPort(self.port, factory, self.context_source, self.backlog, self.interface, self.reactor)


def parse(reactor: Any, description: str) -> IStreamServerEndpoint:
    """
    The endpoint for a Twisted endpoint string, with a backlog of 1024 unless the string names one.

    `tcp:`, `tcp6:`, `unix:` and `ssl:` give our own endpoints, on a reactor that works on descriptors. `tcp:`, `tcp6:`
    and `unix:` take Twisted's arguments. `ssl:PORT:privateKey=FILE:certKey=FILE:interface=ADDRESS:backlog=NUMBER` gives
    an endpoint whose `context_source` is a `Certificate`. As in Twisted, only the port is required: the default of
    privateKey is `server.pem`, that of certKey is the same file, which may hold the whole chain.

    For other arguments (sslmethod, extraCertChain, dhParameters), other kinds of endpoints and other reactors it calls
    `serverFromString`. Raises ValueError, and CertificateError for a certificate that does not load.
    """
    values, named = split(description)
    kind = values.pop(0) if values else ""
    if isinstance(reactor, PosixReactorBase):
        if kind == "ssl" and named.keys() <= TLS_ARGUMENTS and len(values) <= 3:
            return _tls(reactor, *values, **named)
        make = _PLAIN.get(kind)
        if make is not None and is_fast():
            try:
                return make(reactor, *values, **named)
            except (TypeError, ValueError):
                pass  # Twisted reports what is wrong
    if kind in ("tcp", "tcp6", "ssl", "unix") and len(values) <= 1 and "backlog" not in named:
        description += f":backlog={BACKLOG}"
    return cast(IStreamServerEndpoint, serverFromString(reactor, description))


def listen_tcp(reactor: Any, port: int, factory: IProtocolFactory, interface: str = "") -> IListeningPort:
    """Listen on TCP at once. Raises CannotListenError."""
    if is_fast() and isinstance(reactor, PosixReactorBase):
        made: Any = Port(port, factory, BACKLOG, interface, reactor)
        made.startListening()
        return cast(IListeningPort, made)
    return cast(IListeningPort, reactor.listenTCP(port, factory, BACKLOG, interface))


TLS_ARGUMENTS: Final = frozenset(("port", "privateKey", "certKey", "interface", "backlog"))


def _tls(
    reactor: Any,
    port: str = "",
    privateKey: str = "server.pem",
    certKey: str | None = None,
    interface: str = "",
    backlog: str = str(BACKLOG),
) -> IStreamServerEndpoint:
    if not port.isdecimal():
        raise ValueError(f"ssl: needs a port number, not {port!r}")
    certificate = Certificate(certKey or privateKey, privateKey)
    make = TLSEndpoint if is_fast() else StockTLSServerEndpoint
    return make(reactor, int(port), interface, int(backlog), certificate)


def _tcp6(reactor: Any, port: str, backlog: str = str(BACKLOG), interface: str = "::") -> TCPEndpoint:
    return TCPEndpoint(reactor, port, interface, backlog)


_PLAIN: Final[dict[str, Callable[..., IStreamServerEndpoint]]] = {
    "tcp": TCPEndpoint,
    "tcp6": _tcp6,
    "unix": UNIXEndpoint,
}
