"""What a benchmark prints, made fit for the worker's log: whole lines, not too long, not too many."""

from __future__ import annotations

import re
from collections.abc import Callable

LONGEST = 500
"""Bytes of a line that are passed on; the rest of it is left out."""
BURST = 100
"""Lines that may come at once."""
RATE = 20.0
"""Lines a second in the long run."""

_END = re.compile(rb"[\r\n]+")
_COLOUR = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


class Progress:
    """Turns the bytes of several descriptors into lines for one listener, in bounded memory whatever comes."""

    def __init__(self, tell: Callable[[str], None], now: Callable[[], float]) -> None:
        """`tell` gets each line; `now` gives seconds of any clock that does not go back."""
        self._tell = tell
        self._now = now
        self._allowed = float(BURST)
        self._at = now()
        self._left_out = 0
        self._begun: dict[int, bytes] = {}

    def received(self, descriptor: int, data: bytes) -> None:
        """Take what the descriptor gave; a bare carriage return ends a line too, as progress bars have it."""
        self._refill()
        *lines, rest = _END.split(self._begun.pop(descriptor, b"") + data)
        told = min(len(lines), int(self._allowed))
        for line in lines[:told]:
            self._line(line)
        self._left_out += len(lines) - told
        self._begun[descriptor] = rest[: LONGEST + 1]

    def ended(self) -> None:
        """Pass on what was begun, and say how much was left out."""
        self._allowed = max(self._allowed, float(len(self._begun) + 1))
        for line in self._begun.values():
            self._line(line)
        self._begun.clear()
        self._admit_omission()

    def _refill(self) -> None:
        now = self._now()
        self._allowed = min(float(BURST), self._allowed + (now - self._at) * RATE)
        self._at = now

    def _line(self, line: bytes) -> None:
        text = _COLOUR.sub("", line[:LONGEST].decode("utf-8", "replace"))
        text = "".join(each if each.isprintable() else " " for each in text).rstrip()
        if text:
            self._admit_omission()
            self._allowed -= 1.0
            self._tell(text + ("…" if len(line) > LONGEST else ""))

    def _admit_omission(self) -> None:
        if self._left_out:
            count, self._left_out = self._left_out, 0
            self._tell(f"(lines left out: {count})")
