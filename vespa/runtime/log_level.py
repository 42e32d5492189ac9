"""The level of the log, changed while the process runs: by name, or by SIGUSR2, which turns debug on and off."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import Final, Protocol

from constantly import NamedConstant
from twisted.application import service
from twisted.logger import Logger, LogLevel

from vespa.runtime.logging import LEVELS, level_named
from vespa.runtime.signals import Handler, Stoppable

log = Logger()

NUMBER: Final = getattr(signal, "SIGUSR2", None)
"""The signal that turns debug on and off; None where the system has none (Windows)."""


class Levelled(Protocol):
    """What is needed of a log observer."""

    level: NamedConstant
    is_used: bool


class LevelSwitch:
    """Changes the level of a log. Each change is logged, whatever the level is."""

    def __init__(self, observer: Levelled) -> None:
        self._observer = observer
        self._configured = observer.level

    def set(self, name: str) -> None:
        """Log from the level of this name on. Raises ValueError if it is none of `LEVELS`, or has no effect."""
        if name not in LEVELS:
            raise ValueError(f"{name!r} is not a level: it must be one of {', '.join(LEVELS)}")
        if not self._observer.is_used:
            raise ValueError("this process logs through twistd's own log, which has events of every level")
        self._change(level_named(name), "")

    def toggle(self) -> None:
        """Change to debug, or from there to the configured level."""
        if not self._observer.is_used:
            log.info("SIGUSR2: nothing changes: twistd's own log has events of every level")
        elif self._observer.level is LogLevel.debug:
            self._change(self._configured if self._configured is not LogLevel.debug else LogLevel.info, "SIGUSR2: ")
        else:
            self._change(LogLevel.debug, "SIGUSR2: ")

    def _change(self, level: NamedConstant, why: str) -> None:
        observer = self._observer
        observer.level = min(observer.level, level, LogLevel.info)
        log.info("{why}the log's level is {name} from now on", why=why, name=level.name)
        observer.level = level


class LevelSignal(service.Service):
    """Takes SIGUSR2, where the system has it, and calls `toggle` in the reactor's thread."""

    def __init__(
        self,
        reactor: Stoppable,
        toggle: Callable[[], object],
        *,
        number: int | None = NUMBER,
        set_handler: Callable[[int, Handler], object] = signal.signal,
    ) -> None:
        self._reactor = reactor
        self._toggle = toggle
        self._number = number
        self._set_handler = set_handler

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]
        if self._number is not None:
            self._set_handler(self._number, self._received)

    def _received(self, number: int, frame: FrameType | None) -> None:
        self._reactor.callFromThread(self._toggle)
