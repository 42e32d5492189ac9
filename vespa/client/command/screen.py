"""A terminal as the client uses it: lines that stay, and one at the bottom that is rewritten."""

from __future__ import annotations

import os
from typing import Final, TextIO

_ERASE: Final = "\r\x1b[K"
_CONTROL: Final = dict.fromkeys([*range(32), *range(0x7F, 0xA0)], " ")


class Screen:
    """A terminal's stream. `live` keeps a line at the bottom, whatever else is written meanwhile, the log included."""

    def __init__(self, stream: TextIO, width: int = 0, *, escapes: bool = True) -> None:
        """`width` in columns; 0 is the terminal's own at each time. `escapes`: it follows ANSI's sequences."""
        self._stream = stream
        self._width = width
        self._escapes = escapes
        self._live = ""

    def write(self, text: str) -> int:
        """Write what stays: whole lines."""
        self._stream.write(f"{self._erase()}{text}{self._live}" if self._live else text)
        return len(text)

    def flush(self) -> None:
        """Have it appear."""
        self._stream.flush()

    def fileno(self) -> int:
        """The stream's descriptor."""
        return self._stream.fileno()

    def live(self, text: str) -> None:
        """Show a line in the place of the last one; "" for none."""
        # A line that fills the row would wrap, and then not be erased.
        text = text.translate(_CONTROL)[: max(1, (self._width or self._columns()) - 1)]
        if text == self._live:
            return
        erase, self._live = self._erase(), text
        try:
            self._stream.write(erase + text)
            self._stream.flush()
        except (OSError, ValueError):
            pass  # the terminal is gone, and requests go on

    def _erase(self) -> str:
        """What takes the live line away."""
        return _ERASE if self._escapes else f"\r{' ' * len(self._live)}\r"

    def _columns(self) -> int:
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or 80
        except (OSError, ValueError):
            return 80
