"""
CORS for the pages of allowed origins (the Fetch standard, 3.3).

The proxy answers preflights itself and does not pass them on. A preflight has no token. The request that follows
needs it.
"""

from __future__ import annotations

from typing import Final

from vespa.protocol.request_head import RequestHead
from vespa.protocol.response_head import NO_BODY
from vespa.proxy.local_response import LocalResponse

VARY: Final = b"Vary: Origin\r\n"  # for every response if origins are allowed, because it depends on the Origin

MAX_AGE_SECONDS: Final = 600
_ASKED: Final = {
    b"access-control-request-method": b"Access-Control-Allow-Methods",
    b"access-control-request-headers": b"Access-Control-Allow-Headers",
}
_PRIVATE_NETWORK: Final = b"access-control-request-private-network"


def cors_lines(origin: bytes) -> bytes:
    """The field lines of every response to a page of this origin."""
    return b"Access-Control-Allow-Origin: %b\r\nAccess-Control-Expose-Headers: *\r\n%b" % (origin, VARY)


def is_preflight(head: RequestHead) -> bool:
    """Whether this is a browser's preflight."""
    return head.method == b"OPTIONS" and any(
        line[:29].lower() == b"access-control-request-method" and line[29:30] == b":" for line in head.lines
    )


class Preflight(LocalResponse):
    """
    Answers the preflight of an allowed page, also for the network of this machine.

    The request already holds the lines that every response to this page has.
    """

    def respond(self) -> None:
        lines = [b"Access-Control-Max-Age: %d\r\n" % MAX_AGE_SECONDS]
        for name, value in self.head.headers:
            name = name.lower()
            if name in _ASKED:
                lines.append(_ASKED[name] + b": " + value + b"\r\n")
            elif name == _PRIVATE_NETWORK and value.lower() == b"true":
                lines.append(b"Access-Control-Allow-Private-Network: true\r\n")
        self.client.start(204, b"".join(lines), NO_BODY)
        self.client.finish()
