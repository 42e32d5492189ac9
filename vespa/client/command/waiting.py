"""Shows that requests wait for a worker: a live line on a terminal, or a line in a log at intervals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

LOG_SECONDS: Final = 30.0
_SHOWN: Final = 200


class LiveLine:
    """On a terminal: the autoscaler's message and the waiting time, updated each second."""

    def __init__(self, clock: IReactorTime, draw: Callable[[str], object]) -> None:
        """`draw` takes the line; "" for none."""
        self._draw = draw
        self._clock = clock
        self._status = ""
        self._since = 0.0
        self._loop = LoopingCall(self._show)
        self._loop.clock = clock

    def __call__(self, status: str, seconds: float) -> None:
        """Take the autoscaler's text, and the seconds of the longest wait; "" and 0.0 if no request waits."""
        if self._loop.running:
            self._loop.stop()
        self._status = status
        self._since = self._clock.seconds() - seconds
        if status or seconds:
            self._loop.start(1.0)
        else:
            self._draw("")

    def _show(self) -> None:
        seconds = self._clock.seconds() - self._since
        self._draw(f"waiting for a worker, {elapsed(seconds)}{': ' if self._status else ''}{self._status}")


class WaitingLog:
    """In a log: the beginning of a wait, its progress and its end, with at most two lines in half a minute."""

    log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._logged_at = -LOG_SECONDS
        self._is_told = False
        self._since: float | None = None

    def __call__(self, status: str, seconds: float) -> None:
        """Take the autoscaler's text, and the seconds of the longest wait; "" and 0.0 if no request waits."""
        now = self._clock.seconds()
        if not status and not seconds:
            if self._is_told and self._since is not None:
                self.log.info("no request waits for a worker any more, after {t}", t=elapsed(now - self._since))
            self._is_told = False
            self._since = None
            return
        if self._since is None:
            self._since = now - seconds
        if now - self._logged_at >= LOG_SECONDS:
            self._logged_at = now
            self._is_told = True
            self.log.info("waiting for a worker, {t}: {status}", t=elapsed(seconds), status=status[:_SHOWN])


def elapsed(seconds: float) -> str:
    """A duration for people: 42 s, 3 min 5 s."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
