"""The log events of a test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.logger import LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase


def observe_log(case: SynchronousTestCase, note: Callable[[LogEvent], object]) -> None:
    """Call `note` with each event until the test ends."""
    observer: Any = note  # any callable is an observer
    globalLogPublisher.addObserver(observer)
    case.addCleanup(globalLogPublisher.removeObserver, observer)
