"""One coarse clock for many connections.

A timer for each request would cost more than the request. Deadlines here are seconds long and
may be met a second late. So one timer checks every connection once a second, and stops if there is none.
"""

from __future__ import annotations

from typing import Final, Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

INTERVAL_SECONDS: Final = 1.0
SLICE: Final = 500  # the number of members checked in one turn of the reactor: ten thousand connections take 20 ms


class Ticked(Protocol):
    """A member of a coarse timer."""

    def tick(self, now: float) -> None:
        """Check the deadlines; `now` is the clock's time in seconds."""


class CoarseTimer:
    """Calls `tick` on each of its members once a second."""

    _log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self.clock = clock
        self._members: dict[Ticked, None] = {}
        self._call: IDelayedCall | None = None
        self._due: list[Ticked] = []  # still to be checked in this round, the next one last
        self._began_at = 0.0

    @property
    def size(self) -> int:
        """The number of members."""
        return len(self._members)

    def add(self, member: Ticked) -> None:
        self._members[member] = None
        if self._call is None:
            self._call = self.clock.callLater(INTERVAL_SECONDS, self._look)

    def discard(self, member: Ticked) -> None:
        self._members.pop(member, None)
        if not self._members and self._call is not None:
            self._call.cancel()
            self._call = None

    def _look(self) -> None:
        self._call = None
        now = self.clock.seconds()
        if not self._due:
            self._due = list(reversed(self._members))
            self._began_at = now
        due = self._due
        for _ in range(min(SLICE, len(due))):
            member = due.pop()
            if member in self._members:
                try:
                    member.tick(now)
                except Exception:
                    self._log.failure("a connection's deadlines could not be checked")
        if not self._members:
            due.clear()
            return
        if self._call is not None:
            self._call.cancel()
        wait = 0.0 if due else max(0.0, self._began_at + INTERVAL_SECONDS - now)
        self._call = self.clock.callLater(wait, self._look)
