"""A clock that a test can hold, so that a simulated engine works no further while the test looks at it."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.internet.task import Clock, LoopingCall

TICK_SECONDS = 0.01


class HeldClock(Clock):
    """Goes with the reactor's clock, except while it is held. `hold` it at the end of a test."""

    def __init__(self) -> None:
        super().__init__()
        self._seen = 0.0
        self._ticking = LoopingCall(self._tick)
        self.go_on()

    def hold(self) -> None:
        """Stand still: what is scheduled waits for `go_on`, or for `advance`."""
        if self._ticking.running:
            self._ticking.stop()

    def go_on(self) -> None:
        """Go with the reactor's clock from now on."""
        self._seen = reactor.seconds()
        self._ticking.start(TICK_SECONDS, now=False)

    def _tick(self) -> None:
        now = reactor.seconds()
        self._seen, passed = now, now - self._seen
        self.advance(passed)
