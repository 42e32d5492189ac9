"""
Refuses requests of web pages: any web page can make a browser call this proxy and spend its owner's money.

A page's request to this machine is recognisable by a Host with a name of the attacker's (DNS rebinding), by an
Origin or a Referer that is not this proxy's own, or by Sec-Fetch-Site. Programs send none of these. Pages of
allowed origins pass, and only they get CORS headers (`vespa.proxy.cors`).
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from vespa.protocol.refusal import Refusal
from vespa.protocol.request_head import RequestHead

LOOPBACK: Final = (b"localhost", b"127.0.0.1", b"[::1]")

# The information in a field line about the sender of its request.
_NOTHING: Final = 0
_HOST: Final = 1
_ORIGIN: Final = 2
_REFERER: Final = 3
_SITE: Final = 4

_FIELDS: Final = {b"host": _HOST, b"origin": _ORIGIN, b"referer": _REFERER, b"sec-fetch-site": _SITE}
_KEYS: Final = frozenset((b"x-api-key", b"api-key", b"x-goog-api-key"))
_OWN_SITES: Final = (b"same-origin", b"none")

# Recent lines, as in protocol.fields, because programs repeat them. They come from outside, so the table is bounded.
_lines: Final[dict[bytes, tuple[int, bytes]]] = {}
_LINES_MAX: Final = 2048
_LINE_MAX: Final = 256
_HOSTS_MAX: Final = 256


def _say(line: bytes) -> tuple[int, bytes]:
    at = line.find(b":")
    name = line[:at].lower()
    said = _FIELDS.get(name, _NOTHING)
    found = (said, line[at + 1 :].strip(b" \t") if said else b"")
    if len(line) <= _LINE_MAX and name not in _KEYS and name != b"authorization":
        if len(_lines) >= _LINES_MAX:
            _lines.clear()
        _lines[line] = found
    return found


class BrowserGuard:
    """Decides from a request's head alone whether its sender may use this proxy."""

    def __init__(
        self,
        *,
        host: str,
        token: str = "",
        allow_hosts: Sequence[str] = (),
        allow_origins: Sequence[str] = (),
        scheme: bytes = b"http",
        setting: str = "--allow-host",
        origin_setting: str = "",
        needs_host: bool = True,
        any_host: bool = False,
    ) -> None:
        """
        `host` is the interface that the proxy listens on. Beyond loopback the Host field may be any IP address, because
        an attacker's page needs a name. Callers must send `token`, if there is one. `allow_hosts` are further names
        that a Host field may hold, with a port to allow only that port. `setting` is the name of the setting that adds
        them; "" if none does. `allow_origins` are the origins of pages that may use the proxy, exactly as browsers
        write them, and `origin_setting`, if any, adds them. `scheme` is the scheme of pages that came through this
        proxy. A request without a Host, which no browser sends, passes unless `needs_host`. `any_host`: the Host may be
        any name, because something else keeps out pages whose name leads here.
        """
        self._allow_origins = frozenset(origin.encode("ascii") for origin in allow_origins)
        self.allows_origins = bool(allow_origins)  # whether pages of other origins may use the proxy
        self._scheme = scheme + b"://"
        self._advice = f"{setting} adds one" if setting else "localhost is one"
        self._opening = f": to allow the pages of an origin, use {origin_setting}" if origin_setting else ""
        self._needs_host = needs_host
        self._token = token.encode("utf-8")
        self._names = frozenset((*LOOPBACK, *(_written(name) for name in (host, *allow_hosts) if name)))
        self._any_host = any_host
        interface = _address(host)
        self._any_address = not (host == "localhost" if interface is None else interface.is_loopback)
        self.known_hosts: dict[bytes, bytes] = {}  # Host fields that were accepted, with the origin of our own pages

    def check_host(self, head: RequestHead) -> None:
        """Raises `Refusal` 403 for a Host that is not a name of this proxy."""
        if (head.host or self._needs_host) and head.host not in self.known_hosts:
            self._own_origin(head.host)

    def check_page(self, head: RequestHead) -> bytes:
        """
        Return the allowed origin of the requesting page; b"" for our own pages and for programs.

        Raises `Refusal` 403 for a request that a foreign page may have sent. Does not check the token, which a
        preflight does not have.
        """
        if not head.host and not self._needs_host:
            return b""
        own = self.known_hosts.get(head.host) or self._own_origin(head.host)
        known = _lines.get
        origins = referers = sites = 0
        origin = referer = b""
        for line in head.lines:
            said, value = known(line) or _say(line)
            if said == _NOTHING:
                continue
            if said == _HOST:
                if value != head.host:  # the target names another host
                    self._own_origin(value)
            elif said == _ORIGIN:
                origin, origins = value, origins + 1
            elif said == _REFERER:
                referer, referers = value, referers + 1
            elif value not in _OWN_SITES:
                sites += 1
        if not (origins or referers or sites):
            return b""
        allowed = origin if origins == 1 and origin in self._allow_origins else b""
        if not allowed and origins and (origin.lower() != own or origins > 1):
            raise Refusal(403, "foreign_origin", f"the Origin is not this proxy's own{self._opening}")
        if referers and not (_is_below(referer, allowed or own) and referers == 1):
            raise Refusal(403, "foreign_origin", f"the Referer is a page of another origin{self._opening}")
        if sites and not allowed:
            raise Refusal(403, "cross_site", f"Sec-Fetch-Site names a page of another site{self._opening}")
        return allowed

    def check_token(self, head: RequestHead) -> None:
        """Raises `Refusal` 401 if the proxy has a token and the request does not."""
        if self._token and not self._is_shown(head):
            raise Refusal(
                401,
                "token_required",
                "this proxy requires its own token: send it as Authorization: Bearer or X-Api-Key",
                headers=((b"WWW-Authenticate", b"Bearer"),),
            )

    def _own_origin(self, host: bytes) -> bytes:
        """The origin of our own pages at this Host. Raises `Refusal` if the Host is not ours."""
        written = host.lower()
        if not self._is_ours(written):
            raise Refusal(403, "foreign_host", f"the Host is not a name of this proxy: {self._advice}")
        origin = self.known_hosts[host] = self._scheme + written
        if len(self.known_hosts) > _HOSTS_MAX:
            self.known_hosts.clear()
        return origin

    def _is_ours(self, host: bytes) -> bool:
        if self._any_host or host in self._names:
            return True
        name, colon, port = host.rpartition(b":")
        if not colon or host.endswith(b"]"):
            name = host
        elif not port.isdigit():
            return False
        return name in self._names or (self._any_address and _address(name.decode("latin-1")) is not None)

    def _is_shown(self, head: RequestHead) -> bool:
        shown = False
        for line in head.lines:
            name, _, value = line.partition(b":")
            name, value = name.lower(), value.strip(b" \t")
            if name == b"authorization":
                if value[:7].lower() != b"bearer ":
                    continue
                value = value[7:].strip(b" ")
            elif name not in _KEYS:
                continue
            shown |= hmac.compare_digest(value, self._token)
        return shown


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """An IP address, bare or as in a URL (IPv6 in brackets); None if it is not one."""
    bare = text[1:-1] if text[:1] == "[" and text[-1:] == "]" else text
    if bare is not text and ":" not in bare:
        return None
    try:
        return ip_address(bare)
    except ValueError:
        return None


def _written(host: str) -> bytes:
    """A host as it is written in a Host field."""
    text = host.strip().lower()
    if text.count(":") > 1 and text[:1] != "[":
        text = f"[{text}]"
    return text.encode("idna" if not text.isascii() else "ascii")


def _is_below(url: bytes, origin: bytes) -> bool:
    """Whether a URL has exactly this origin: without user information, with the same host and port."""
    return url[: len(origin)].lower() == origin and url[len(origin) : len(origin) + 1] in (b"", b"/", b"?")
