"""The endpoint of a server."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from attrs import frozen
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.endpoints import UNIXClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint

from vespa.protocol.urls import BaseURL
from vespa.transport.connect import ConnectingEndpoint
from vespa.transport.platform import HAS_UNIX_SOCKETS, connects_directly
from vespa.transport.resolve import ResolvingEndpoint, address_endpoint
from vespa.transport.tls_connect import TLSConnectingEndpoint
from vespa.transport.tls_resolve import ServerIdentity
from vespa.transport.tls_stock import StockTLSEndpoint


@frozen
class Origin(BaseURL):
    """The address of a server, with an endpoint that connects to it."""

    @classmethod
    def parse(cls, url: str) -> Origin:
        """Like `BaseURL.parse`. Also refuses a unix socket on a system without them."""
        base = BaseURL.parse(url)
        if base.socket and not HAS_UNIX_SOCKETS:
            raise ValueError("this system has no unix sockets: use the server's http:// URL")
        return cls(base.scheme, base.host, base.port, base.path_prefix, base.socket)

    def endpoint(
        self, reactor: Any, timeout: float, trust: Any = None, allows: Callable[[str], bool] | None = None
    ) -> IStreamClientEndpoint:
        """
        An endpoint for this server. `timeout` in seconds limits one attempt to connect; 0 leaves it to the system.

        `trust` is a Twisted trust root for https; None means the system's. `allows` decides for each IP address of a
        name whether it may be used; None allows all.
        """
        seconds = timeout or 3600.0
        direct = connects_directly(reactor)
        endpoint: IStreamClientEndpoint
        if self.socket:
            if direct:
                return ConnectingEndpoint(reactor, socket.AF_UNIX, self.socket, seconds)
            return UNIXClientEndpoint(reactor, self.socket, timeout=seconds)
        is_v6 = isIPv6Address(self.host)
        is_address = is_v6 or isIPAddress(self.host)
        tls = self.scheme == "https"
        if direct and tls and is_address and trust is not None:
            family = socket.AF_INET6 if is_v6 else socket.AF_INET
            return TLSConnectingEndpoint(reactor, family, (self.host, self.port), seconds, trust)
        if is_address:
            endpoint = address_endpoint(reactor, self.host, self.port, seconds, direct=direct and not tls)
        else:
            endpoint = ResolvingEndpoint(reactor, self.host, self.port, seconds, allows)
        if not tls:
            return endpoint
        if is_address and trust is not None:
            return StockTLSEndpoint(reactor, endpoint, self.host, self.port, seconds, trust)
        # Without a clock it would use the global reactor.
        return wrapClientTLS(ServerIdentity(self.host, trust), endpoint, reactor)
