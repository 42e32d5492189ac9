"""What of a worker's reply the caller gets: not what is meant for a browser, and no way out to another host."""

from __future__ import annotations

import re
from typing import Final

from vespa.core.refusal import Refusal
from vespa.http.head import ReplyHead
from vespa.http.origin import Origin

# A browser would take these for the words of all that runs on localhost: cookies know no ports, and CORS lets pages in.
_NOT_FOR_CALLERS: Final = re.compile(
    rb"^(?:Set-Cookie2?|Access-Control-[^:]*|Alt-Svc|Clear-Site-Data|Strict-Transport-Security):[^\r\n]*\r\n",
    re.I | re.M,
)
_is_telling: Final = re.compile(_NOT_FOR_CALLERS.pattern + rb"|^Location:", re.I | re.M).search
_LOCATION: Final = re.compile(rb"^(Location:[ \t]*)([^\r\n]*?)([ \t]*\r\n)", re.I | re.M)
_ABSOLUTE: Final = re.compile(rb"(?:https?:)?//([^/?#\\]*)([^#]*)(#.*)?", re.I)
_LOOPBACK: Final = re.compile(rb"(?:localhost|127\.[0-9.]+|\[::1\]|0\.0\.0\.0)(?::[0-9]*)?", re.I)
_REPEATING: Final = frozenset((307, 308))
_SAFE: Final = frozenset((b"GET", b"HEAD", b"OPTIONS"))


def callers_block(head: ReplyHead, origin: Origin, method: bytes) -> bytes:
    """
    The lines of a reply's fields for the caller of a request with this method; `origin` is the worker's.

    A Location that leads to the worker, or to what the worker's machine calls localhost, is made relative: through the
    proxy is the way there. Raises `Refusal` for a redirect that would have the caller send its request to another host.
    """
    block = head.block()
    if not _is_telling(block):
        return block
    block = _NOT_FOR_CALLERS.sub(b"", block)
    found = _LOCATION.search(block)
    there = _ABSOLUTE.fullmatch(found[2]) if found is not None else None
    if found is None or there is None:
        return block
    host, path = there[1], there[2] or b"/"
    if host.lower() == origin.host_field.lower() or _LOOPBACK.fullmatch(host):
        path = path if path[:1] == b"/" else b"/" + path
        path = b"/" + path.lstrip(b"/")  # two would be another host again
        return block[: found.start(2)] + path + (there[3] or b"") + block[found.end(2) :]
    if head.status in _REPEATING and method not in _SAFE:
        message = "the worker would have this request sent to another host"
        raise Refusal(502, "foreign_redirect", message, origin="worker")
    return block
