"""Logs repeated events at intervals, with their number."""

from __future__ import annotations

from typing import Final

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

SECONDS: Final = 30.0  # the time for which the same kind of event is not logged again
KINDS_MAX: Final = 64  # above so many kinds in that time, the others share one line

_OTHERS: Final = ""


@define
class _Heard:
    at: float
    kept: int = 0


@define(eq=False)
class RateLimitedLog:
    """A log for errors that every request may cause: one line for each kind in half a minute."""

    _log: Logger
    _clock: IReactorTime
    known_kinds: dict[str, _Heard] = field(factory=dict, init=False)

    def log(self, kind: str, text: str) -> None:
        """Log an event of some kind, or count it."""
        now = self._clock.seconds()
        if kind not in self.known_kinds and len(self.known_kinds) >= KINDS_MAX:
            self.known_kinds = {
                each: heard for each, heard in self.known_kinds.items() if 0 <= now - heard.at < SECONDS
            }
            if len(self.known_kinds) >= KINDS_MAX:
                kind = _OTHERS
        heard = self.known_kinds.get(kind)
        if heard is not None and 0 <= now - heard.at < SECONDS:  # below 0 the clock was set back
            heard.kept += 1
            return
        again = f" (and {heard.kept} times more since the last such line)" if heard is not None and heard.kept else ""
        self.known_kinds[kind] = _Heard(now)
        self._log.warn("{text}{again}", text=text, again=again)
