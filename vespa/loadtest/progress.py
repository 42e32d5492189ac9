"""Shows a run's progress: a live line on a terminal, or lines at intervals elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from vespa.loadtest.plan import Plan
from vespa.loadtest.run_stats import RunStats
from vespa.loadtest.text import progress
from vespa.runtime.terminal import Terminal

LIVE_SECONDS: Final = 0.25
LINE_SECONDS: Final = 5.0


class Progress:
    """Shows a run's statistics at intervals, from `begin` to `end`."""

    def __init__(self, clock: IReactorTime, now: Callable[[], float], terminal: Terminal) -> None:
        self._clock = clock
        self._now = now
        self._terminal = terminal
        self._interval = LIVE_SECONDS if terminal.is_terminal else LINE_SECONDS
        self._waiting = ""
        self._timer: IDelayedCall | None = None

    def begin(self, stats: RunStats, plan: Plan, title: str = "") -> None:
        """Show this run from now on."""
        self.end()
        self._timer = self._clock.callLater(self._interval, self._show, stats, plan, title)

    def end(self) -> None:
        """Stop showing."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._terminal.live("")

    def waits(self, status: str, seconds: float) -> None:
        """Take the status of a client proxy whose requests wait for a worker; ("", 0.0) if none waits."""
        self._waiting = f"waiting for a worker {seconds:.0f} s: {status}" if status or seconds else ""

    def tell(self, text: str) -> None:
        """Show a line that stays."""
        self._terminal.write(text + "\n")

    def _show(self, stats: RunStats, plan: Plan, title: str) -> None:
        text = title + progress(stats, plan, self._now(), waiting=self._waiting)
        if self._terminal.is_terminal:
            self._terminal.live(text)
        else:
            self.tell(text)
        self._timer = self._clock.callLater(self._interval, self._show, stats, plan, title)
