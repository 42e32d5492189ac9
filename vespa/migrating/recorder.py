"""Keeps what a worker's file makes of the official classes: the stand-in and the patched package both tell it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any, Final, NoReturn

MOST_OPTIONS: Final = 20


class Recorder:
    """What the file has made so far.

    `served` is called when the file starts its server, which officially blocks until the worker ends. It must not
    return.
    """

    def __init__(self, served: Callable[[], NoReturn]) -> None:
        self.configs: list[Any] = []
        """Each WorkerConfig that was made."""
        self.workers: list[Any] = []
        """The WorkerConfig of each Worker that was made."""
        self.unknown: list[str] = []
        """Fields that the stand-in does not know, as `Class.field`."""
        self.options: dict[str, str] = {}
        """The options of `Worker.run()`, as text."""
        self.programs: list[str] = []
        """The names of the programs that the file started."""
        self._served = served

    @property
    def config(self) -> Any:
        """The configuration that counts: the last worker's, or else the last one that was made; None: there is none."""
        made = self.workers or self.configs
        return made[-1] if made else None

    def run(self, options: Mapping[str, Any]) -> NoReturn:
        """The file started its worker's server, with these options."""
        self.options = {str(name)[:200]: _shown(value) for name, value in islice(options.items(), MOST_OPTIONS)}
        self._served()


def _shown(value: object) -> str:
    try:
        return repr(value)[:200]
    except Exception:
        return f"<{type(value).__name__[:200]}>"
