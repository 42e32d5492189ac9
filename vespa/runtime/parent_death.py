"""Ends a process when its parent ends, even if the parent is killed."""

from __future__ import annotations

import ctypes

_PR_SET_PDEATHSIG = 1


def signal_at_parent_death(number: int) -> None:
    """Let the kernel send this process the signal `number` when its parent ends. Works on Linux only."""
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
    except (OSError, AttributeError, TypeError):
        pass
