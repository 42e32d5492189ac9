"""What of a worker's response the caller gets: not what is meant for a browser, and no way out to another host."""

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

# A browser would take these for the words of all that runs on localhost: cookies know no ports, and CORS lets pages in.
_NOT_FOR_CALLERS: Final = frozenset(
    (b"set-cookie", b"set-cookie2", b"alt-svc", b"clear-site-data", b"strict-transport-security")
)
_CORS: Final = b"access-control-"
# Over what a worker sends no expression may match the same text in two ways (docs/security.md).
_is_telling: Final = re.compile(
    rb"^(?:Set-Cookie|Access-Control-|Alt-Svc:|Clear-Site-Data:|Strict-Transport-Security:|Location:)", re.I | re.M
).search
# As lenient as the most lenient of those who follow: any number of slashes, none at all after a scheme.
_PARTS: Final = re.compile(rb"([A-Za-z][A-Za-z0-9+.-]*:)?(/*)([^/?#]*)([^#]*)(#.*)?", re.DOTALL)
_WEB: Final = frozenset((b"", b"http:", b"https:"))
_SAFE: Final = frozenset((b"GET", b"HEAD", b"OPTIONS"))


class ResponseFilter:
    """Which fields of a worker's response a caller gets."""

    def __init__(self, policy: Policy) -> None:
        self._cookies = COOKIE in policy.passes

    def response_lines(self, exchange: Exchange, head: ResponseHead) -> bytes:
        """What the worker says, less what is not for callers. Raises `Refusal`."""
        return callers_block(head, exchange.selection.worker.origin, exchange.head.method, cookies=self._cookies)


_check: type[ResponsePolicy[Exchange]] = ResponseFilter


def callers_block(head: ResponseHead, origin: Origin, method: bytes, *, cookies: bool = False) -> bytes:
    """
    The lines of a response's fields for the caller of a request with this method; `origin` is the worker's.

    A Location that leads to the worker, or to what the worker's machine calls localhost, is made relative: through the
    proxy is the way there. `cookies`: they pass, as a browser takes them here.

    Raises `Refusal` for a redirect that would have the caller send its request to another host.
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
                raise Refusal(502, "foreign_redirect", "the worker names more than one place to go to", origin="worker")
            has_location = True
            way = _way_here(value.strip(b" \t"), head, origin, method)
            if way is not None:
                line = b"Location: " + way
        lines += (line, b"\r\n")
    return b"".join(lines)


def _way_here(location: bytes, head: ResponseHead, origin: Origin, method: bytes) -> bytes | None:
    """The Location through the proxy; None where it stays as it is. Raises `Refusal`."""
    # Browsers, and libraries that do as they do, take a backslash for a slash and leave tabs out.
    parts = _PARTS.fullmatch(location.translate(None, b"\t").replace(b"\\", b"/"))
    if parts is None or not (parts[1] or len(parts[2]) > 1):
        return None
    host = parts[3].lower()
    if (parts[1] or b"").lower() in _WEB and (host == origin.host_field.lower() or is_near(_name_of(host))):
        path = b"/" + parts[4].lstrip(b"/")  # two slashes would be another host again
        prefix = origin.path_prefix
        if prefix and path.startswith(prefix + b"/"):
            path = path[len(prefix) :]
        return path + (parts[5] or b"")
    if _repeats(head.status, method):
        message = "the worker would have this request sent to another host"
        raise Refusal(502, "foreign_redirect", message, origin="worker")
    return None


def _repeats(status: int, method: bytes) -> bool:
    """Whether a redirect has a request that is not safe sent again, body and all (RFC 9110 15.4)."""
    if method in _SAFE:
        return False
    return status in (307, 308) or (status in (301, 302) and method != b"POST")


def _name_of(authority: bytes) -> str:
    """A host without its port and brackets."""
    host = authority.rpartition(b"@")[2].decode("ascii", "replace")
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
