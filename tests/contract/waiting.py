"""Waiting for a condition instead of a time."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import FailTest

# How long a condition may take before the test fails. Never waited for when all is well.
BOUND_SECONDS = 8.0


class TookTooLong(FailTest):
    """A condition that was waited for did not come about in time."""


class Changes:
    """Tells waiters when something has changed, so that they look again."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Callable[[], object], Deferred[None]]] = []

    def changed(self) -> None:
        """Fire every waiter whose condition now holds."""
        ready = [item for item in self._waiting if item[0]()]
        for item in ready:
            if item in self._waiting:
                self._waiting.remove(item)
                item[1].callback(None)

    def until(self, holds: Callable[..., object], what: str) -> Deferred[None]:
        """Fires once the condition holds; fails with `TookTooLong` after `BOUND_SECONDS`."""
        waiter: Deferred[None] = Deferred()
        if holds():
            waiter.callback(None)
            return waiter
        item = (holds, waiter)
        self._waiting.append(item)

        def give_up(value: object, timeout: float) -> None:
            self._waiting.remove(item)
            raise TookTooLong(f"waited {timeout} s for: {what}")

        return waiter.addTimeout(BOUND_SECONDS, reactor, give_up)


async def turns(count: int = 2) -> None:
    """Let the reactor go round: what was written is sent, and its receiver gets to read it."""
    for _ in range(count):
        await deferLater(reactor, 0, lambda: None)
