"""What is asked and answered. The backend and the load both know every byte, so that both can check them."""

from __future__ import annotations

import json
import random
from functools import cache

from attrs import frozen

BLOCK = random.Random(7).randbytes(65536)
"""What large bodies repeat: bytes without a pattern, so that none is lost or moved unseen."""

EVENT_BYTES = 200
_text = " ".join("".join(random.Random(n).choices("abcdefghijklmnopqrstuvwxyz", k=5)) for n in range(170))
QUESTION = json.dumps({"model": "m", "prompt": _text, "max_tokens": 128, "stream": False}).encode()
RESPONSE = json.dumps({"id": "c-1", "choices": [{"index": 0, "text": _text, "finish_reason": "stop"}]}).encode()


@frozen
class Content:
    """`size` bytes that repeat `unit`; in so many pieces, each so many seconds after the one before."""

    unit: bytes
    size: int
    pieces: int = 1
    every: float = 0.0

    def matches(self, at: int, data: bytes) -> bool:
        """Whether this is what stands at that place."""
        start = at % len(self.unit)
        expected = self.unit[start : start + len(data)]
        while len(expected) < len(data):
            expected += self.unit[: len(data) - len(expected)]
        return expected == data and at + len(data) <= self.size


@cache
def response_to(path: str) -> Content:
    """What the backend answers at a path."""
    match path.split("/")[1:]:
        case ["stream", count, every]:
            numbers = range(int(count))
            events = b"".join((b"data: %08d " % number).ljust(EVENT_BYTES - 2, b"x") + b"\n\n" for number in numbers)
            return Content(events, len(events), int(count), float(every))
        case ["big", size]:
            return Content(BLOCK, int(size))
        case ["v1", *_]:
            return Content(RESPONSE, len(RESPONSE))
    return Content(b"{}", 2)


@cache
def body_for(path: str) -> Content | None:
    """What must arrive at a path; None where anything may."""
    match path.split("/")[1:]:
        case ["sink", size]:
            return Content(BLOCK, int(size))
        case ["v1", *_]:
            return Content(QUESTION, len(QUESTION))
    return None
