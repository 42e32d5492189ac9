"""
CORS, for the pages of origins that were allowed by name (the Fetch standard, 3.3).

A page's question whether it may ask (a preflight) is answered here, and does not reach an upstream. It shows no token:
that is asked for with the request itself.
"""

from __future__ import annotations

from typing import Final

from vespa.protocol.request_head import RequestHead
from vespa.protocol.response_head import NO_BODY
from vespa.proxy.local_response import LocalResponse

VARY: Final = b"Vary: Origin\r\n"
"""For every response where origins are allowed: it is another one for another Origin."""

MAX_AGE_SECONDS: Final = 600
_ASKED: Final = {
    b"access-control-request-method": b"Access-Control-Allow-Methods",
    b"access-control-request-headers": b"Access-Control-Allow-Headers",
}
_PRIVATE_NETWORK: Final = b"access-control-request-private-network"


def cors_lines(origin: bytes) -> bytes:
    """The lines of every response to a page of this origin."""
    return b"Access-Control-Allow-Origin: %b\r\nAccess-Control-Expose-Headers: *\r\n%b" % (origin, VARY)


def is_preflight(head: RequestHead) -> bool:
    """Whether a page's browser asks for leave."""
    return head.method == b"OPTIONS" and any(
        line[:29].lower() == b"access-control-request-method" and line[29:30] == b":" for line in head.lines
    )


class Preflight(LocalResponse):
    """
    Gives an allowed page leave for what it asks, on this machine's network too.

    The lines that every response to it has are the request's already.
    """

    def respond(self) -> None:
        """Give leave."""
        lines = [b"Access-Control-Max-Age: %d\r\n" % MAX_AGE_SECONDS]
        for name, value in self.head.headers:
            name = name.lower()
            if name in _ASKED:
                lines.append(_ASKED[name] + b": " + value + b"\r\n")
            elif name == _PRIVATE_NETWORK and value.lower() == b"true":
                lines.append(b"Access-Control-Allow-Private-Network: true\r\n")
        self.client.start(204, b"".join(lines), NO_BODY)
        self.client.finish()
