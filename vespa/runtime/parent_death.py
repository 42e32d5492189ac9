"""Ending a process with the one that started it, even where that one is killed."""

from __future__ import annotations

import ctypes

_PR_SET_PDEATHSIG = 1


def signal_at_parent_death(number: int) -> None:
    """Have the kernel send this process the signal `number` once its parent has ended. Without effect but on Linux."""
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
    except (OSError, AttributeError, TypeError):
        pass
