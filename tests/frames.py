"""How many calls of Python functions something takes: each costs more than most of what it does."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType


def frames(function: Callable[..., object], *args: object) -> list[str]:
    """Call it; the names of the Python functions that ran, its own first."""
    names: list[str] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            names.append(getattr(frame.f_code, "co_qualname", frame.f_code.co_name))

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        function(*args)
    finally:
        sys.setprofile(before)
    return names
