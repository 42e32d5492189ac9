"""Printing for people: short lines, colour only where a terminal shows it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import TextIO

from vespa.runtime.standard_streams import shows_escapes

BOLD, DIM, GREEN, RED, END = "\x1b[1m", "\x1b[2m", "\x1b[32m", "\x1b[31m", "\x1b[0m"
WIDEST = 100


class Terminal:
    """A stream to print to. Every line is flushed: people are watching."""

    def __init__(self, stream: TextIO, environment: Mapping[str, str]) -> None:
        self._stream = stream
        is_terminal = stream.isatty() and environment.get("TERM") != "dumb"
        self._colours = is_terminal and not environment.get("NO_COLOR") and shows_escapes(environment)
        self._width = min(shutil.get_terminal_size().columns if is_terminal else 80, WIDEST)
        self._column = 0

    def heading(self, text: str) -> None:
        """Begin a part, after an empty line."""
        self._write(f"\n{self._coloured(BOLD, text)}\n")

    def line(self, text: str = "") -> None:
        """One line, indented."""
        self._write(f"  {text}\n" if text else "\n")

    def dim(self, text: str) -> None:
        """A line that matters less."""
        self.line(self._coloured(DIM, text))

    def good(self, text: str) -> None:
        """A line that says that all is well."""
        self.line(self._coloured(GREEN, text))

    def bad(self, text: str) -> None:
        """A line that says what went wrong."""
        self.line(self._coloured(RED, text))

    def flow(self, text: str) -> None:
        """Running text, piece by piece as it comes, wrapped at words; a new word begins with a space."""
        for word in _pieces(text):
            if self._column and self._column + len(word) > self._width:
                self._write("\n")
                self._column = 0
            shown = word if self._column else "  " + word.lstrip(" ")
            self._write(shown)
            self._column += len(shown)

    def end_flow(self) -> None:
        """End the running text."""
        if self._column:
            self._write("\n")
        self._column = 0

    def _coloured(self, colour: str, text: str) -> str:
        return f"{colour}{text}{END}" if self._colours else text

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def _pieces(text: str) -> list[str]:
    # Cut before each space, so that a word and the space before it stay together.
    pieces = [" " * (place > 0) + word for place, word in enumerate(text.replace("\n", " ").split(" "))]
    return [piece for piece in pieces if piece]
