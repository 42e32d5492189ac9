"""Endpoints: Twisted's, and for `ssl:` our own TLS with a certificate that can be replaced while the port is open."""

from __future__ import annotations

from typing import Any, cast

from attrs import frozen
from twisted.internet import defer, endpoints
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.internet.posixbase import PosixReactorBase
from zope.interface import implementer

from vespa.transport.certificates import Certificate
from vespa.transport.tls_server import Contexts, TLSPort

BACKLOG = 1024
OURS = {"port", "privateKey", "certKey", "interface", "backlog"}


@implementer(IStreamServerEndpoint)
@frozen
class TLSEndpoint:
    """Listens for TLS on TCP, IPv4 or IPv6 as `interface` is an address of the one or the other."""

    reactor: Any
    port: int
    interface: str
    backlog: int
    context_source: Contexts

    def listen(self, protocolFactory: IProtocolFactory) -> defer.Deferred[IListeningPort]:
        """Fires with the listening port, or fails with CannotListenError."""
        return defer.execute(self._listen, protocolFactory)

    def _listen(self, factory: IProtocolFactory) -> IListeningPort:
        port = TLSPort(self.port, factory, self.context_source, self.backlog, self.interface, self.reactor)
        port.startListening()
        return port


def parse(reactor: Any, description: str) -> IStreamServerEndpoint:
    """
    The endpoint that a Twisted endpoint string describes, with a backlog of 1024 where it names none.

    `ssl:PORT:privateKey=FILE:certKey=FILE:interface=ADDRESS:backlog=NUMBER` gives a `TLSEndpoint`, its
    `context_source` a `Certificate`. As in Twisted, all but the port may be left out: privateKey is then `server.pem`
    and certKey the same file, which here may hold the whole chain. What has other arguments (sslmethod, extraCertChain,
    dhParameters), every other kind of endpoint, and a reactor that does not work on descriptors get what
    `serverFromString` makes of them. Raises ValueError, CertificateError for a certificate that does not load.
    """
    (kind, *values), named = endpoints._parse(description)
    if kind == "ssl" and named.keys() <= OURS and len(values) <= 3 and isinstance(reactor, PosixReactorBase):
        return _lean(reactor, *values, **named)
    if kind in ("tcp", "tcp6", "ssl", "unix") and len(values) <= 1 and "backlog" not in named:
        description += f":backlog={BACKLOG}"
    return cast(IStreamServerEndpoint, endpoints.serverFromString(reactor, description))


def _lean(
    reactor: Any,
    port: str = "",
    privateKey: str = "server.pem",
    certKey: str | None = None,
    interface: str = "",
    backlog: str = str(BACKLOG),
) -> TLSEndpoint:
    if not port.isdecimal():
        raise ValueError(f"ssl: needs a port number, not {port!r}")
    return TLSEndpoint(reactor, int(port), interface, int(backlog), Certificate(certKey or privateKey, privateKey))
