"""The endpoint of a server."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from attrs import frozen
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.endpoints import (
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
    UNIXClientEndpoint,
    wrapClientTLS,
)
from twisted.internet.interfaces import IStreamClientEndpoint

from vespa.protocol.urls import BaseURL
from vespa.transport.connect import ConnectingEndpoint
from vespa.transport.platform import HAS_UNIX_SOCKETS, connects_directly
from vespa.transport.resolve import ResolvingEndpoint
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
        endpoint: IStreamClientEndpoint
        if connects_directly(reactor):
            lean = self._lean_endpoint(reactor, seconds, trust)
            if lean is not None:
                return lean
        if self.socket:
            return UNIXClientEndpoint(reactor, self.socket, timeout=seconds)
        if isIPAddress(self.host):
            endpoint = TCP4ClientEndpoint(reactor, self.host, self.port, timeout=seconds)
        elif isIPv6Address(self.host):
            endpoint = TCP6ClientEndpoint(reactor, self.host, self.port, timeout=seconds)
        else:
            endpoint = ResolvingEndpoint(reactor, self.host, self.port, seconds, allows)
        if self.scheme != "https":
            return endpoint
        if trust is not None and self._family() is not None:
            return StockTLSEndpoint(reactor, endpoint, self.host, self.port, seconds, trust)
        # Without a clock it would use the global reactor.
        return wrapClientTLS(ServerIdentity(self.host, trust), endpoint, reactor)

    def _lean_endpoint(self, reactor: Any, seconds: float, trust: Any) -> IStreamClientEndpoint | None:
        """Our own endpoint, or None if it does not support this address."""
        if self.socket:
            return ConnectingEndpoint(reactor, socket.AF_UNIX, self.socket, seconds)
        family = self._family()
        if family is None:
            return None
        if self.scheme == "http":
            return ConnectingEndpoint(reactor, family, (self.host, self.port), seconds)
        return (
            TLSConnectingEndpoint(reactor, family, (self.host, self.port), seconds, trust)
            if trust is not None
            else None
        )

    def _family(self) -> int | None:
        """The address family of a host that is an IP address, otherwise None."""
        return socket.AF_INET if isIPAddress(self.host) else socket.AF_INET6 if isIPv6Address(self.host) else None
