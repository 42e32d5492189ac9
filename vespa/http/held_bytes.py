"""How many bytes a server's connections hold together."""

from __future__ import annotations

from typing import Final

from vespa.protocol.refusal import Refusal

SMALL: Final = 8192
"""Up to so many bytes of a connection's need not be counted: counting them would cost every request."""


_JOINED: Final = 4096


def keep(pieces: list[bytes], data: bytes) -> None:
    """
    Add a piece to those that are kept; small ones are joined.

    A body may come byte by byte, and an object for each byte takes forty times its memory. Most bodies come in
    one piece, for which the caller appends it rather than call this.
    """
    if pieces and len(pieces[-1]) + len(data) <= _JOINED:
        pieces[-1] += data
    else:
        pieces.append(data)


class HeldBytes:
    """
    Two totals over all connections, each within a limit in bytes; a limit of 0 is none.

    `total` counts all that is held, `unverified` the part that belongs to requests of which it is not known who sent
    them. Connections tell what they hold where something is kept, and not for requests that pass at once.
    """

    __slots__ = ("_most", "_most_unverified", "total", "unverified")

    def __init__(self, most: int = 0, most_unverified: int = 0) -> None:
        self.total = 0
        self.unverified = 0
        self._most = most
        self._most_unverified = most_unverified

    def change(self, more: int, more_unverified: int) -> None:
        """A connection holds so many bytes more, or fewer where the numbers are negative."""
        self.total += more
        self.unverified += more_unverified

    def refusal(self, unverified: bool) -> Refusal | None:
        """What to refuse one with that has just come to hold more, of a request that is `unverified` or not."""
        if unverified and 0 < self._most_unverified < self.unverified:
            message = f"requests not verified yet hold {self._most_unverified} bytes, which is all they may"
            return Refusal(503, "too_much_unverified", message, retry_after=1)
        if 0 < self._most < self.total:
            message = f"requests and responses under way hold {self._most} bytes, which is all they may"
            return Refusal(503, "too_much_held", message, retry_after=1)
        return None
