"""Checks that work is linear in its input, without measuring time."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_CPU_SECONDS = 60.0


@contextmanager
def ends() -> Iterator[None]:
    """
    Fail where the work goes on and on.

    For an input so large that linear work on it takes milliseconds and quadratic work hours, on any machine: nothing is
    measured, and a test that would never end fails. Where the system has no such timer, it does not end.
    """
    if not hasattr(signal, "setitimer"):
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise AssertionError("this work would not end: it is not linear in its input")

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, _CPU_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
        signal.signal(signal.SIGVTALRM, before)
