"""A gate that tells those who wait: what comes free goes to the next at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import Protocol, TypeVar

from vespa.accounting.admission import Gate


class Waiter(Hashable, Protocol):
    """What may wait for a slot."""

    def slot(self) -> None:
        """The slot that it waited for is its own."""


Waiting = TypeVar("Waiting", bound=Waiter)


class FairQueue(Gate[Waiting]):
    """A gate whose slots are handed on at once, to those that wait, in the order in which they came."""

    def __init__(self, max_wait_seconds: float | None, max_concurrency: int, max_queue: int) -> None:
        super().__init__(max_wait_seconds, max_concurrency, max_queue)
        self._next: deque[Waiting] = deque()
        self._handing_on = False

    def free(self, key: Waiting) -> None:
        """
        A request is over: it leaves the queue, or its slot goes to the next, whose `slot` is called.

        Does nothing for a key that is not inside. A `slot` may call `free`, also for its own request: what comes free
        by that is handed on after it returned, so that any number of failures in a row needs no stack.
        """
        if not self._waiting:
            self._working.discard(key)
            return
        following = self.release(key)
        if following is None:
            self.leave(key)
            return
        self._next.append(following)
        if self._handing_on:
            return  # the loop below goes on
        self._handing_on = True
        try:
            while self._next:
                following = self._next.popleft()
                if following in self._working:  # else it gave its slot back before it heard of it
                    following.slot()
        finally:
            self._handing_on = False
