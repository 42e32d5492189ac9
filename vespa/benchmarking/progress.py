"""Turns what a benchmark prints into lines for the worker's log, with limits on their length and number."""

from __future__ import annotations

import re
from collections.abc import Callable

LONGEST = 500
"""Bytes of a line that are logged; the rest of it is left out."""
BURST = 100
"""Lines that are logged at once."""
RATE = 20.0
"""Lines a second that are logged in the long run."""

_END = re.compile(rb"[\r\n]+")
_COLOUR = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


class Progress:
    """Passes the output of several descriptors to one listener, line by line. Its memory is bounded."""

    def __init__(self, tell: Callable[[str], None], now: Callable[[], float]) -> None:
        """`tell` is called with each line. `now` returns seconds of a monotonic clock."""
        self._tell = tell
        self._now = now
        self._allowed = float(BURST)
        self._at = now()
        self._left_out = 0
        self._begun: dict[int, bytes] = {}

    def received(self, descriptor: int, data: bytes) -> None:
        """Take output of a descriptor. A carriage return ends a line too, because progress bars print them."""
        self._refill()
        *lines, rest = _END.split(self._begun.pop(descriptor, b"") + data)
        told = min(len(lines), int(self._allowed))
        for line in lines[:told]:
            self._line(line)
        self._left_out += len(lines) - told
        self._begun[descriptor] = rest[: LONGEST + 1]

    def ended(self) -> None:
        """The output has ended: pass on unfinished lines, and say how many were left out."""
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
