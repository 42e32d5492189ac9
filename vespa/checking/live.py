"""A terminal with one live line, where there is a terminal and rich is installed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, TextIO


class Live(Protocol):
    """A terminal: lines go above the live one."""

    def live(self, text: str) -> None:
        """Keep one line at the bottom; "" for none."""

    def write(self, text: str) -> int:
        """Write whole lines."""


def live_terminal(stream: TextIO, environ: Mapping[str, str]) -> Live | None:
    """The terminal; None if `stream` is none, or rich is not installed, which a worker does not need."""
    try:
        from vespa.runtime.terminal import Terminal
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "rich":
            raise
        return None
    terminal = Terminal(stream, environ)
    return terminal if terminal.is_terminal else None
