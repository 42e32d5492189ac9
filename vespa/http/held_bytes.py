"""The memory that a server's connections hold together, in bytes."""

from __future__ import annotations

from typing import Final

from vespa.protocol.refusal import Refusal

SMALL: Final = 8192  # fewer bytes of a connection are not counted, because counting would cost every request


_JOINED: Final = 4096


def keep(pieces: list[bytes], data: bytes) -> None:
    """
    Add a piece to the kept pieces, and join small ones.

    A body may arrive byte by byte, and an object for each byte takes forty times its memory. Most bodies arrive in
    one piece. For them the caller appends it instead of calling this.
    """
    if pieces and len(pieces[-1]) + len(data) <= _JOINED:
        pieces[-1] += data
    else:
        pieces.append(data)


class HeldBytes:
    """
    Two totals over all connections, each with a limit in bytes; 0 means no limit.

    `total` counts all held bytes, `unverified` those of requests whose sender is not known yet. Connections report
    bytes that they keep, but not requests that pass at once.
    """

    __slots__ = ("_most", "_most_unverified", "total", "unverified")

    def __init__(self, most: int = 0, most_unverified: int = 0) -> None:
        self.total = 0
        self.unverified = 0
        self._most = most
        self._most_unverified = most_unverified

    def change(self, more: int, more_unverified: int) -> None:
        """A connection holds so many bytes more, or fewer if negative."""
        self.total += more
        self.unverified += more_unverified

    def refusal(self, unverified: bool) -> Refusal | None:
        """The refusal of a request that now holds more; None within the limits."""
        if unverified and 0 < self._most_unverified < self.unverified:
            message = f"the limit of {self._most_unverified} bytes for requests not yet verified is reached"
            return Refusal(503, "too_much_unverified", message, retry_after=1)
        if 0 < self._most < self.total:
            message = f"the limit of {self._most} bytes for requests and responses in flight is reached"
            return Refusal(503, "too_much_held", message, retry_after=1)
        return None
