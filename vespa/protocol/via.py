"""The Via field: the proxies that a request passed, and how this proxy recognises its own requests (RFC 9110 7.6.3)."""

from __future__ import annotations

import secrets
from typing import Final

from vespa.protocol.refusal import Refusal
from vespa.protocol.request_head import RequestHead

_RANDOM_BYTES: Final = 8


class Via:
    """
    One proxy's part in Via.

    Each proxy has a random name of its own, so a client and a worker, or two workers in a row, are not a loop. `lines`
    holds the field line to add to an HTTP/1.0 request, and to an HTTP/1.1 request.
    """

    def __init__(self) -> None:
        self._pseudonym = b"vespa-" + secrets.token_hex(_RANDOM_BYTES).encode("ascii")
        self.lines: Final = tuple(b"Via: 1.%d %b\r\n" % (minor, self._pseudonym) for minor in (0, 1))

    def check(self, head: RequestHead) -> None:
        """Raises `Refusal` 508 for a request that has passed this proxy before."""
        for value in head.via:
            if self._pseudonym in value:
                message = "this request passed this proxy before: the server behind the proxy sends requests back to it"
                raise Refusal(508, "loop_detected", message)
