"""Recognises signed requests that came before."""

from __future__ import annotations

from collections import deque
from typing import Literal

ReplayMode = Literal["off", "warn", "reject"]

_SIGNATURE_PART = 32
"""
The number of characters of a signature that are kept.

A key signs a message in one way only, so a verified signature stands for its message. So does a sufficient part of
it, in a tenth of the memory.
"""


class ReplayGuard:
    """
    Remembers the last `capacity` requests by request_idx, reqnum and signature.

    In mode "off" it remembers nothing. The caller decides by `mode` what to do about a repetition. If only the URL is
    signed, a thief can change the two numbers, and the request counts as new.
    """

    def __init__(self, capacity: int, mode: ReplayMode) -> None:
        self.mode: ReplayMode = mode
        self._capacity = capacity
        self._order: deque[tuple[int, int, str]] = deque()
        self._known: set[tuple[int, int, str]] = set()

    def seen(self, request_idx: int, reqnum: int, signature: str) -> bool:
        """Whether a verified request with these values came before. Remembers this one."""
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
