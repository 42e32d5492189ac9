"""How long a client may take for what it is at: the clocks of one connection, as values."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from vespa.http.server import Limits

# A body below the minimum rate is cut after this long, not before: starts are slow.
RATE_GRACE_SECONDS: Final = 10.0


class Expired(IntEnum):
    """What took too long."""

    HEAD = 0
    IDLE = 1
    LINGER = 2
    BODY = 3
    READING = 4  # the client's, of what we wrote


_HEAD, _IDLE, _LINGER, _BODY, _READING = Expired  # looking one up on its class is slow


class Patience:
    """
    One connection's clocks; `now` is in seconds.

    Two run at most: a deadline for what comes from the client (head, next request, end of what nobody wants) or the
    rate of its body; and, always, the progress of what waits to be written.
    """

    __slots__ = ("_limits", "_what", "_until", "_since", "_size", "_stalled_at", "_stalled_since")

    def __init__(self, limits: Limits, now: float) -> None:
        self._limits = limits
        self._what = _HEAD
        self._until = 0.0
        self._since = 0.0
        self._size = 0
        self._stalled_at = (0, 0)
        self._stalled_since = now
        self.await_head(now)

    def await_head(self, now: float) -> None:
        """A head has so long in all, whatever comes of it meanwhile."""
        self._start(_HEAD, self._limits.head_seconds, now)

    def await_request(self, now: float) -> None:
        """The next request may come, or not."""
        self._start(_IDLE, self._limits.keepalive_seconds, now)

    def head_begins(self, now: float) -> None:
        """Bytes of a head came; only the first of a later request start its clock."""
        if self._what == _IDLE:
            self.await_head(now)

    def linger(self, now: float) -> None:
        """What still comes is nobody's."""
        self._start(_LINGER, self._limits.linger_seconds, now)

    def await_body(self, now: float) -> None:
        """A body is to come at the minimum rate."""
        self._what, self._until, self._since, self._size = _BODY, 0.0, now, 0

    def answer(self) -> None:
        """It is our turn: the client owes nothing."""
        self._what, self._until = _IDLE, 0.0

    def excuse(self, now: float, received: int) -> None:
        """Reading is paused by us, or the body not asked for yet: its rate counts from here."""
        self._since, self._size = now, received

    def _start(self, what: Expired, seconds: float, now: float) -> None:
        self._what = what
        self._until = now + seconds if seconds else 0.0

    def expired(self, now: float, received: int, waiting: int, sent: int) -> Expired | None:
        """
        What took too long, if anything did.

        `received` are the body's bytes so far, `waiting` those that wait to be written, and `sent` grows when any of
        them went.
        """
        if self._until and now >= self._until:
            self._until = 0.0
            return self._what
        limits = self._limits
        if self._what == _BODY and limits.body_min_rate:
            since = now - self._since
            if since > RATE_GRACE_SECONDS and received - self._size < limits.body_min_rate * since:
                return _BODY
        mark = (waiting, sent)
        if not waiting or mark != self._stalled_at:
            self._stalled_at, self._stalled_since = mark, now
        elif limits.write_stall_seconds and now - self._stalled_since >= limits.write_stall_seconds:
            return _READING
        return None
