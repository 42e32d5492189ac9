"""Where a server is: a URL's scheme, authority and path prefix, or a unix socket."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from attrs import frozen

from vespa.protocol.fields import is_host

_is_prefix = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@%/-]*", re.ASCII).fullmatch


@frozen
class BaseURL:
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
        """The host, and the port where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = 443 if self.scheme == "https" else 80
        return host.encode("ascii") if self.port == default else f"{host}:{self.port}".encode("ascii")

    @classmethod
    def parse(cls, url: str) -> BaseURL:
        """Read `http[s]://host[:port][/prefix]` or `unix:/path`. Raises ValueError saying what is wrong."""
        if url.startswith("unix:"):
            path = url[5:].removeprefix("//")
            if not path.startswith("/"):
                raise ValueError("a unix socket needs an absolute path: unix:/run/server.sock")
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
        if not is_host(host.encode("ascii", "replace")) and not is_ipv6_address(host):
            raise ValueError("its host is not one")
        if len(host) > 253 or any(len(label) > 63 for label in host.split(".")) or ".." in host or host[:1] == ".":
            raise ValueError("its host is no name: a label has 1 to 63 characters (RFC 1035)")
        return cls(parts.scheme, host, port, parts.path.rstrip("/").encode("ascii"))


def is_ipv6_address(host: str) -> bool:
    """Whether this is an IPv6 address, with or without a zone."""
    try:
        ipaddress.IPv6Address(host.partition("%")[0])
    except ValueError:
        return False
    return True
