"""One piece of work for all callers that need its result at the same time."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Starts `work` for the first caller, and again for the first caller after its end."""

    def __init__(self, work: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._work = work
        self._running: Deferred[T] | None = None
        self._waiting: list[Deferred[T]] = []

    def join(self) -> Deferred[T]:
        """
        Fires or fails like the work.

        It may be cancelled without effect on the other callers. The work is cancelled when no caller is left.
        """
        waiting: Deferred[T] = Deferred(self._leave)
        self._waiting.append(waiting)
        if self._running is None:
            running = self._running = Deferred.fromCoroutine(self._work())
            running.addBoth(lambda result: self._ended(running, result))
        return waiting

    def _leave(self, waiting: Deferred[T]) -> None:
        if waiting in self._waiting:
            self._waiting.remove(waiting)
        if not self._waiting and self._running is not None:
            running, self._running = self._running, None
            running.cancel()

    def _ended(self, running: Deferred[T], result: T | Failure) -> None:
        if running is not self._running:
            return  # all callers had left
        self._running = None
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if isinstance(result, Failure):
                each.errback(result)
            else:
                each.callback(result)
