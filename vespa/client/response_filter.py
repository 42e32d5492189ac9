"""Filters a worker's response for the caller: no fields for browsers, and no redirect to another host."""

from __future__ import annotations

import re
from typing import Final

from vespa.client.passed_headers import COOKIE, local_cookie
from vespa.client.policy import Policy
from vespa.protocol.refusal import Refusal
from vespa.protocol.response_head import ResponseHead
from vespa.proxy.exchange import Exchange
from vespa.proxy.interfaces import ResponsePolicy
from vespa.runtime.local_addresses import is_near
from vespa.transport.origin import Origin

# A browser would apply these to everything on localhost: cookies ignore ports, and CORS admits pages.
_NOT_FOR_CALLERS: Final = frozenset(
    (b"set-cookie", b"set-cookie2", b"alt-svc", b"clear-site-data", b"strict-transport-security")
)
_CORS: Final = b"access-control-"
# In an expression over a worker's bytes, no text may match in two ways (docs/security.md).
_is_telling: Final = re.compile(
    rb"^(?:Set-Cookie|Access-Control-|Alt-Svc:|Clear-Site-Data:|Strict-Transport-Security:|Location:)", re.I | re.M
).search
# As lenient as the most lenient client: any number of slashes, none at all after a scheme.
_PARTS: Final = re.compile(rb"([A-Za-z][A-Za-z0-9+.-]*:)?(/*)([^/?#]*)([^#]*)(#.*)?", re.DOTALL)
_WEB: Final = frozenset((b"", b"http:", b"https:"))
_SAFE: Final = frozenset((b"GET", b"HEAD", b"OPTIONS"))


class ResponseFilter:
    """Decides which fields of a worker's response a caller gets."""

    def __init__(self, policy: Policy) -> None:
        self._cookies = COOKIE in policy.passes

    def response_lines(self, exchange: Exchange, head: ResponseHead) -> bytes:
        """The worker's fields, without those that callers must not get. Raises `Refusal`."""
        selection = exchange.selection
        if selection.pin is not None:
            selection.pin.answered(head)
        return callers_block(head, selection.worker.origin, exchange.head.method, cookies=self._cookies)


_check: type[ResponsePolicy[Exchange]] = ResponseFilter


def callers_block(head: ResponseHead, origin: Origin, method: bytes, *, cookies: bool = False) -> bytes:
    """
    The field lines of a response for the caller of a request with this method; `origin` is the worker's.

    A Location at the worker, or at localhost as the worker's machine names it, is made relative, so that it leads
    through the proxy. `cookies`: Set-Cookie passes, changed for this proxy.

    Raises `Refusal` for a redirect that would make the caller send its request to another host.
    """
    block = head.fields_block
    if not _is_telling(block):
        return block
    lines: list[bytes] = []
    has_location = False
    for line in head.passing:
        name, _, value = line.partition(b":")
        name = name.lower()
        if cookies and name == b"set-cookie":
            line = local_cookie(line)
        elif name in _NOT_FOR_CALLERS or name.startswith(_CORS):
            continue
        if name == b"location":
            if has_location:
                raise Refusal(502, "foreign_redirect", "the worker sent more than one redirect target", origin="worker")
            has_location = True
            way = _way_here(value.strip(b" \t"), head, origin, method)
            if way is not None:
                line = b"Location: " + way
        lines += (line, b"\r\n")
    return b"".join(lines)


def _way_here(location: bytes, head: ResponseHead, origin: Origin, method: bytes) -> bytes | None:
    """The Location through the proxy; None if it stays unchanged. Raises `Refusal`."""
    # Browsers, and libraries like them, treat a backslash as a slash and ignore tabs.
    parts = _PARTS.fullmatch(location.translate(None, b"\t").replace(b"\\", b"/"))
    if parts is None or not (parts[1] or len(parts[2]) > 1):
        return None
    host = parts[3].lower()
    if (parts[1] or b"").lower() in _WEB and (host == origin.host_field.lower() or is_near(_name_of(host))):
        path = b"/" + parts[4].lstrip(b"/")  # two slashes would name another host
        prefix = origin.path_prefix
        if prefix and path.startswith(prefix + b"/"):
            path = path[len(prefix) :]
        return path + (parts[5] or b"")
    if _repeats(head.status, method):
        message = "the worker tried to redirect this request to another host"
        raise Refusal(502, "foreign_redirect", message, origin="worker")
    return None


def _repeats(status: int, method: bytes) -> bool:
    """Whether a redirect makes a client repeat a request that is not safe, with its body (RFC 9110 15.4)."""
    if method in _SAFE:
        return False
    return status in (307, 308) or (status in (301, 302) and method != b"POST")


def _name_of(authority: bytes) -> str:
    """A host without its port and brackets."""
    host = authority.rpartition(b"@")[2].decode("ascii", "replace")
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
