"""The address of a server: a URL's scheme, authority and path prefix, or a unix socket."""

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
    The address of a server. `path_prefix` (without a final "/") comes before every target.

    `socket` is the path of a unix socket, or empty. With a socket, `host` and `port` are only names.
    """

    scheme: str
    host: str
    port: int
    path_prefix: bytes = b""
    socket: str = ""

    @property
    def host_field(self) -> bytes:
        """The value of the Host field: the host, and the port unless it is the scheme's default."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = 443 if self.scheme == "https" else 80
        return host.encode("ascii") if self.port == default else f"{host}:{self.port}".encode("ascii")

    @property
    def url(self) -> str:
        """The URL, without a final "/" and without the scheme's default port."""
        if self.socket:
            return f"unix:{self.socket}"
        return f"{self.scheme}://{(self.host_field + self.path_prefix).decode('ascii')}"

    @classmethod
    def parse(cls, url: str) -> BaseURL:
        """Read `http[s]://host[:port][/prefix]` or `unix:/path`. Raises ValueError with the reason."""
        if url.startswith("unix:"):
            path = url[5:].removeprefix("//")
            if not path.startswith("/"):
                raise ValueError("a unix socket needs an absolute path: unix:/run/server.sock")
            return cls("http", "localhost", 80, b"", path)
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https"):
            raise ValueError("it does not begin with http://, https:// or unix:")
        if not parts.hostname or parts.username is not None or parts.query or parts.fragment:
            raise ValueError("it is not scheme://host[:port][/prefix], without user, query or fragment")
        if ";" in parts.netloc:
            raise ValueError("its host has a semicolon: if these are several URLs, separate them with commas")
        if parts.port == 0 or not _is_prefix(parts.path):
            raise ValueError("its port is 0, or its path has characters that a URL's path must not have")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        host = parts.hostname.encode("idna").decode("ascii") if not parts.hostname.isascii() else parts.hostname
        if not is_host(host.encode("ascii", "replace")) and not is_ipv6_address(host):
            raise ValueError("its host is not valid")
        if len(host) > 253 or any(len(label) > 63 for label in host.split(".")) or ".." in host or host[:1] == ".":
            raise ValueError("its host is not a valid name: each label has 1 to 63 characters (RFC 1035)")
        return cls(parts.scheme, host, port, parts.path.rstrip("/").encode("ascii"))


def is_ipv6_address(host: str) -> bool:
    """Whether this is an IPv6 address, with or without a zone."""
    try:
        ipaddress.IPv6Address(host.partition("%")[0])
    except ValueError:
        return False
    return True
