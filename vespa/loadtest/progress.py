"""Shows a run's progress: a live line on a terminal, or lines at intervals elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from vespa.loadtest.plan import Plan
from vespa.loadtest.run_stats import RunStats
from vespa.loadtest.units import duration, printable, three
from vespa.runtime.terminal import Terminal

LIVE_SECONDS: Final = 0.25
LINE_SECONDS: Final = 5.0

BAR_WIDTH: Final = 20
NARROW_BAR_WIDTH: Final = 8


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
        width = self._terminal.width - len(title)
        text = title + progress_line(stats, plan, self._now(), waiting=self._waiting, width=width)
        if self._terminal.is_terminal:
            self._terminal.live(text)
        else:
            self.tell(text)
        self._timer = self._clock.callLater(self._interval, self._show, stats, plan, title)


def progress_line(stats: RunStats, plan: Plan, now: float, *, waiting: str = "", width: int = 1000) -> str:
    """
    One line about the progress of a run; `now` on the tester's clock, `waiting` the reason for a wait.

    If it is longer than `width`, the bar is shorter and the less important figures are left out.
    """
    seconds = max(0.0, now - stats.began)
    done = stats.succeeded + stats.failed + stats.unfinished
    share = max(done / plan.requests if plan.requests else 0.0, seconds / plan.duration if plan.duration else 0.0)
    # Each with the order in which it is left out; 0: never.
    parts = [
        (0, f"{seconds:.0f} s"),
        (1, f"sent {stats.sent}"),
        (2, f"done {done}"),
        (4, f"in flight {stats.in_flight}"),
        (0, f"ok {stats.succeeded}"),
        (0, f"failed {stats.failed}"),
        (3, f"{three(stats.succeeded / seconds if seconds else 0.0)} ok/s"),
    ]
    live = stats.live
    if live.tokens and seconds:
        parts.append((5, f"{three(live.tokens / seconds)} tokens/s"))
    if stats.slo is not None:
        parts.append((8, f"good {stats.good / max(stats.succeeded + stats.failed, 1):.0%}"))
    for order, name, values in (
        (9, "p50", live.latency),
        (7, "TTFT", live.first_token),
        (6, "TPOT", live.per_output_token),
    ):
        if values.count:
            parts.append((order, f"{name} {duration(values.quantiles(0.5)[0])}"))
    if waiting:
        parts.append((0, printable(waiting)))
    line = _joined(share, BAR_WIDTH, parts)
    for order in range(1, 10):
        if len(line) <= width:
            break
        parts = [part for part in parts if part[0] != order]
        line = _joined(share, NARROW_BAR_WIDTH, parts)
    return line


def _joined(share: float, bar: int, parts: list[tuple[int, str]]) -> str:
    return "  ".join([f"[{'#' * int(min(share, 1.0) * bar):-<{bar}}]", *(text for _, text in parts)])
