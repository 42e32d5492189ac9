"""How many calls of Python functions something takes: each costs more than most of what it does."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


def profiled(note: Callable[[FrameType, str, Any], object], work: Callable[..., object], *args: object) -> None:
    """
    Call `work`, and have `note` told of what `sys.setprofile` tells.

    No garbage is collected meanwhile: a collection calls what others have registered for it, as Hypothesis does.
    """
    before, collects = sys.getprofile(), gc.isenabled()
    gc.disable()
    sys.setprofile(note)
    try:
        work(*args)
    finally:
        sys.setprofile(before)
        if collects:
            gc.enable()


def frames(function: Callable[..., object], *args: object) -> list[str]:
    """Call it; the names of the Python functions that ran, its own first."""
    names: list[str] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            names.append(getattr(frame.f_code, "co_qualname", frame.f_code.co_name))

    profiled(note, function, *args)
    return names
