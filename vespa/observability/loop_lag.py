"""How late the event loop is: what blocks it delays every request."""

from __future__ import annotations

from typing import Final

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from vespa.observability.histogram import Histogram

INTERVAL_SECONDS: Final = 0.25


class LoopLag(Service):
    """
    Sets a timer four times a second, and counts how late each call comes.

    A loop that was blocked for ten seconds is one value of ten seconds, because the next timer is set after it.
    """

    def __init__(self, clock: IReactorTime, lag: Histogram) -> None:
        """`lag` counts the delays, in seconds."""
        self._clock = clock
        self.lag = lag
        self._call: IDelayedCall | None = None
        self._due_at = 0.0

    def startService(self) -> None:
        """Start measuring."""
        super().startService()  # type: ignore[no-untyped-call]
        self._set()

    def stopService(self) -> None:
        """Stop measuring."""
        super().stopService()  # type: ignore[no-untyped-call]
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    def _set(self) -> None:
        self._due_at = self._clock.seconds() + INTERVAL_SECONDS
        self._call = self._clock.callLater(INTERVAL_SECONDS, self._measure)

    def _measure(self) -> None:
        self.lag.add(self._clock.seconds() - self._due_at)
        self._set()
