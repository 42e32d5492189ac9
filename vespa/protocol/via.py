"""Via: the proxies that a request came through, and how one that comes back is known (RFC 9110 7.6.3)."""

from __future__ import annotations

import secrets
from typing import Final

from vespa.protocol.refusal import Refusal
from vespa.protocol.request_head import RequestHead

_RANDOM_BYTES: Final = 8


class Via:
    """
    One proxy's part in Via.

    Its name is random and its own, so that a client and a worker, or two workers in a row, are no loop. `lines` are the
    field line to add to a request that came in HTTP/1.0, and to one in HTTP/1.1.
    """

    def __init__(self) -> None:
        self._pseudonym = b"vespa-" + secrets.token_hex(_RANDOM_BYTES).encode("ascii")
        self.lines: Final = tuple(b"Via: 1.%d %b\r\n" % (minor, self._pseudonym) for minor in (0, 1))

    def check(self, head: RequestHead) -> None:
        """Raises `Refusal` 508 for a request that was here before."""
        for value in head.via:
            if self._pseudonym in value:
                message = "this request was here before: the server behind this proxy leads back to it"
                raise Refusal(508, "loop_detected", message)
