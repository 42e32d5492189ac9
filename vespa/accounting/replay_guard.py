"""Which signed requests came before."""

from __future__ import annotations

from collections import deque
from typing import Literal

ReplayMode = Literal["off", "warn", "reject"]

_SIGNATURE_PART = 32
"""
Characters of a signature that are kept.

One key signs one message in one way only, so a verified signature stands for its message, and so does a good part of
it, in a tenth of the memory.
"""


class ReplayGuard:
    """
    The last `capacity` requests by request_idx, reqnum and signature; the oldest are forgotten first.

    In mode "off" nothing is remembered. What follows from a repetition is up to who asks: `mode` tells. Where only the
    URL is signed, a thief can change the two numbers and pass for new.
    """

    def __init__(self, capacity: int, mode: ReplayMode) -> None:
        self.mode: ReplayMode = mode
        self._capacity = capacity
        self._order: deque[tuple[int, int, str]] = deque()
        self._known: set[tuple[int, int, str]] = set()

    def seen(self, request_idx: int, reqnum: int, signature: str) -> bool:
        """Whether a verified request with these came before; it is remembered from now on."""
        if self.mode == "off":
            return False
        key = (request_idx, reqnum, signature[:_SIGNATURE_PART])
        if key in self._known:
            return True
        self._known.add(key)
        self._order.append(key)
        if len(self._order) > self._capacity:
            self._known.discard(self._order.popleft())
        return False
