"""Who may go to the backend now, who waits, and who is told to come back later; what comes free goes to the next."""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Hashable
from typing import Final, Generic, Protocol, TypeVar

from vespa.accounting.workload import MICROS, from_micros
from vespa.protocol.refusal import Refusal

LEAST_THROUGHPUT: Final = 1e-5
"""Units of work a second that are assumed of a backend not measured yet, so that nothing is divided by zero."""

_BELOW: Final = 1.0 - 1e-12
"""More than the arithmetic of a wait is off by, and far less than anybody notices."""


class Waiter(Hashable, Protocol):
    """What may wait for a slot."""

    def slot(self) -> None:
        """The slot that it waited for is its own."""


Key = TypeVar("Key", bound=Waiter)


class FairQueue(Generic[Key]):
    """
    The gate: slots at the backend and the queue before them, first come, first served.

    `max_wait_seconds` limits the estimated wait (None: no limit), `max_concurrency` the slots (0: no limit),
    `max_queue` the places in the queue. `throughput`, in units of work a second, is set once the backend was measured.

    Keys are the caller's own and unique among those inside. While anyone waits every slot is taken, since a slot that
    comes free goes straight to the head of the queue.
    """

    def __init__(self, max_wait_seconds: float | None, max_concurrency: int, max_queue: int) -> None:
        self._max_wait_seconds = max_wait_seconds
        self._max_concurrency = max_concurrency
        self._max_queue = max_queue
        self._working: set[Key] = set()
        # A plain dict is slow to find its first key after many were taken from its front.
        self._waiting: OrderedDict[Key, None] = OrderedDict()
        self._next: deque[Key] = deque()  # those with a slot that have not heard of it
        self._handing_on = False
        self.throughput = 0.0

    @property
    def throughput(self) -> float:
        """Units of work that the backend does in a second; 0.0 before it was measured."""
        return self._throughput

    @throughput.setter
    def throughput(self, throughput: float) -> None:
        self._throughput = throughput
        limit = self._max_wait_seconds
        # The limit as work, in millionths and a trifle low: only a load above it needs its wait estimated.
        self._surely_within = math.inf if limit is None else limit * MICROS * max(throughput, LEAST_THROUGHPUT) * _BELOW

    @property
    def working(self) -> int:
        """How many hold a slot."""
        return len(self._working)

    @property
    def waiting(self) -> int:
        """How many are in the queue."""
        return len(self._waiting)

    def estimated_wait(self, load: int) -> float:
        """Seconds until the backend has done so many millionths of work."""
        return from_micros(load) / max(self._throughput, LEAST_THROUGHPUT)

    def admit(self, key: Key, load: int) -> bool:
        """
        Let a request in: True if it holds a slot now, False if it was put at the end of the queue.

        `load` is the work in flight in millionths, the new request's not counted. Raises Refusal 429 "busy" if that
        takes longer than the limit, and 429 "queue_full"; ValueError if the key is inside already.
        """
        working = self._working
        if key in working or key in self._waiting:
            raise ValueError("this key is inside already")
        if load > self._surely_within:
            self._check_wait(load)
        if self._max_concurrency and len(working) >= self._max_concurrency:
            self._queue(key, load)
            return False
        working.add(key)
        return True

    def free(self, key: Key) -> None:
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

    def release(self, key: Key) -> Key | None:
        """Free the key's slot and return the key that holds it from now on, if any waited. Unknown keys do nothing."""
        working = self._working
        if key not in working:
            return None
        working.remove(key)
        if not self._waiting:
            return None
        successor, _ = self._waiting.popitem(last=False)
        working.add(successor)
        return successor

    def leave(self, key: Key) -> bool:
        """Take a key out of the queue; False if it was not in it."""
        if key not in self._waiting:
            return False
        del self._waiting[key]
        return True

    def queued(self) -> list[Key]:
        """Those in the queue, the first one first."""
        return list(self._waiting)

    def dismiss(self) -> list[Key]:
        """Empty the queue; returns those that waited, the first one first."""
        waiting = self.queued()
        self._waiting.clear()
        return waiting

    def _check_wait(self, load: int) -> None:
        limit = self._max_wait_seconds
        if limit is not None and load and self.estimated_wait(load) > limit:
            message = f"the estimated wait is over the limit of {limit:g} s"
            raise Refusal(429, "busy", message, retry_after=self._retry_after(load))

    def _queue(self, key: Key, load: int) -> None:
        if len(self._waiting) >= self._max_queue:
            raise Refusal(429, "queue_full", "the queue is full", retry_after=self._retry_after(load))
        self._waiting[key] = None

    def _retry_after(self, load: int) -> float:
        limit = self._max_wait_seconds
        return max(1.0, self.estimated_wait(load) - limit) if limit is not None else 1.0
