"""A run's progress for whoever watches: a line that is rewritten on a terminal, and now and then a line elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from vespa.client.command.screen import Screen
from vespa.loadtest.run_stats import RunStats
from vespa.loadtest.text import progress

LIVE_SECONDS: Final = 0.25
LINE_SECONDS: Final = 5.0


class Progress:
    """Shows a run's statistics again and again, from `begin` to `end`. `is_live`: on a terminal."""

    def __init__(self, clock: IReactorTime, now: Callable[[], float], screen: Screen, *, is_live: bool) -> None:
        self._clock = clock
        self._now = now
        self._screen = screen
        self._is_live = is_live
        self._stats: RunStats | None = None
        self._title = ""
        self._waiting = ""
        self._timer: IDelayedCall | None = None

    def begin(self, stats: RunStats, title: str = "") -> None:
        """Show this one from now on."""
        self.end()
        self._stats = stats
        self._title = title
        self._timer = self._clock.callLater(self._interval, self._show)

    def end(self) -> None:
        """Show no more."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._stats = self._timer = None
        if self._is_live:
            self._screen.live("")

    def waits(self, status: str, seconds: float) -> None:
        """What a client proxy says of those that wait for a worker; ("", 0.0) where none does."""
        self._waiting = f"waiting for a worker {seconds:.0f} s: {status}" if status or seconds else ""

    def tell(self, text: str) -> None:
        """A line that stays."""
        try:
            self._screen.write(text + "\n")
            self._screen.flush()
        except (OSError, ValueError):
            pass  # nobody watches any more; the report may still be wanted

    @property
    def _interval(self) -> float:
        return LIVE_SECONDS if self._is_live else LINE_SECONDS

    def _show(self) -> None:
        if self._stats is None:
            return
        text = self._title + progress(self._stats, self._now(), waiting=self._waiting)
        if self._is_live:
            self._screen.live(text)
        else:
            self.tell(text)
        self._timer = self._clock.callLater(self._interval, self._show)
