"""Where a server is: a URL's scheme and authority, or a unix socket, and the endpoint that leads there."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from attrs import frozen
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.endpoints import (
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
    UNIXClientEndpoint,
    wrapClientTLS,
)
from twisted.internet.interfaces import IStreamClientEndpoint

from vespa.protocol.fields import is_host
from vespa.transport.connect import ConnectingEndpoint
from vespa.transport.platform import HAS_UNIX_SOCKETS, connects_directly
from vespa.transport.resolve import ResolvingEndpoint
from vespa.transport.tls_connect import TLSConnectingEndpoint
from vespa.transport.tls_resolve import ServerIdentity
from vespa.transport.tls_stock import StockTLSEndpoint

_is_prefix = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@%/-]*", re.ASCII).fullmatch


@frozen
class Origin:
    """
    A server's place. `host_field` is what the Host field says; `path_prefix` (without a last "/") stands before every
    target.

    `socket` is a path when the server listens on a unix socket; `host` and `port` then only name it.
    """

    scheme: str
    host: str
    port: int
    path_prefix: bytes = b""
    socket: str = ""

    @property
    def host_field(self) -> bytes:
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = 443 if self.scheme == "https" else 80
        return host.encode("ascii") if self.port == default else f"{host}:{self.port}".encode("ascii")

    @classmethod
    def parse(cls, url: str) -> Origin:
        """Read `http[s]://host[:port][/prefix]` or `unix:/path`. Raises ValueError saying what is wrong."""
        if url.startswith("unix:"):
            path = url[5:].removeprefix("//")
            if not path.startswith("/"):
                raise ValueError("a unix socket needs an absolute path: unix:/run/server.sock")
            if not HAS_UNIX_SOCKETS:
                raise ValueError("this system has no unix sockets: name the server's http:// URL")
            return cls("http", "localhost", 80, b"", path)
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https"):
            raise ValueError("it has to begin with http://, https:// or unix:")
        if not parts.hostname or parts.username is not None or parts.query or parts.fragment:
            raise ValueError("it has to be scheme://host[:port][/prefix], without user, query or fragment")
        if parts.port == 0 or not _is_prefix(parts.path):
            raise ValueError("its port is 0, or its path has characters that no path has")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        host = parts.hostname.encode("idna").decode("ascii") if not parts.hostname.isascii() else parts.hostname
        if not is_host(host.encode("ascii", "replace")) and not isIPv6Address(host):
            raise ValueError("its host is not one")
        if len(host) > 253 or any(len(label) > 63 for label in host.split(".")) or ".." in host or host[:1] == ".":
            raise ValueError("its host is no name: a label has 1 to 63 characters (RFC 1035)")
        return cls(parts.scheme, host, port, parts.path.rstrip("/").encode("ascii"))

    def endpoint(
        self, reactor: Any, timeout: float, trust: Any = None, allows: Callable[[str], bool] | None = None
    ) -> IStreamClientEndpoint:
        """
        The way there; `timeout` in seconds bounds one attempt to connect, 0 leaves it to the system.

        `trust` is a Twisted trust root for https; None means the system's. `allows` says of each IP address that a name
        leads to whether it may be connected to; None: all may.
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
        # Given no clock, it would take the global reactor's.
        return wrapClientTLS(ServerIdentity(self.host, trust), endpoint, reactor)

    def _lean_endpoint(self, reactor: Any, seconds: float, trust: Any) -> IStreamClientEndpoint | None:
        """Our own way there, if it leads there."""
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
        """The address family of a host that is an address."""
        return socket.AF_INET if isIPAddress(self.host) else socket.AF_INET6 if isIPv6Address(self.host) else None
