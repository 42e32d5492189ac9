"""The gate to the backend: it gives a request a slot, a place in the queue or a refusal, and passes on free slots."""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Hashable
from typing import Final, Generic, Protocol, TypeVar

from vespa.accounting.workload import MICROS, from_micros
from vespa.protocol.refusal import Refusal

LEAST_THROUGHPUT: Final = 1e-5
"""Units of work a second, assumed before the backend is measured, to avoid a division by zero."""

_BELOW: Final = 1.0 - 1e-12
"""Larger than the rounding error of an estimated wait, and far smaller than any wait that matters."""


class Waiter(Hashable, Protocol):
    """A request that may wait for a slot."""

    def slot(self) -> None:
        """The waiter now holds a slot."""


Key = TypeVar("Key", bound=Waiter)


class FairQueue(Generic[Key]):
    """
    The gate: slots at the backend and the queue before them, first come, first served.

    `max_wait_seconds` limits the estimated wait (None: no limit), `max_concurrency` the slots (0: no limit),
    `max_queue` the places in the queue; none of them changes. `throughput`, in units of work a second, is set when the
    backend is measured.

    The caller chooses the keys. Each key is unique among those inside. While a request waits, every slot is taken,
    because a free slot goes to the head of the queue at once.
    """

    def __init__(self, max_wait_seconds: float | None, max_concurrency: int, max_queue: int) -> None:
        self.max_wait_seconds = max_wait_seconds
        self.max_concurrency = max_concurrency
        self.max_queue = max_queue
        self._working: set[Key] = set()
        # Finding the first key of a plain dict is slow after many keys were taken from its front.
        self._waiting: OrderedDict[Key, None] = OrderedDict()
        self._next: deque[Key] = deque()  # keys with a slot whose `slot` has not been called yet
        self._handing_on = False
        self.throughput = 0.0

    @property
    def throughput(self) -> float:
        """Units of work that the backend does in a second; 0.0 before the measurement."""
        return self._throughput

    @throughput.setter
    def throughput(self, throughput: float) -> None:
        self._throughput = throughput
        limit = self.max_wait_seconds
        # The limit as work in millionths, slightly too low: only a higher load needs an estimate of its wait.
        self._surely_within = math.inf if limit is None else limit * MICROS * max(throughput, LEAST_THROUGHPUT) * _BELOW

    @property
    def working(self) -> int:
        """The number of requests that hold a slot."""
        return len(self._working)

    @property
    def full(self) -> bool:
        """Whether the backend has all the requests that it may have."""
        return 0 < self.max_concurrency <= len(self._working)

    def holds(self, key: Key) -> bool:
        """Whether a request has a slot."""
        return key in self._working

    @property
    def waiting(self) -> int:
        """The number of requests in the queue."""
        return len(self._waiting)

    def estimated_wait(self, load: int) -> float:
        """The seconds until the backend has done `load` millionths of work."""
        return from_micros(load) / max(self._throughput, LEAST_THROUGHPUT)

    def known_wait(self, load: int) -> float | None:
        """Like `estimated_wait`; None before the backend is measured."""
        return self.estimated_wait(load) if self._throughput else None

    def admit(self, key: Key, load: int) -> bool:
        """
        Let a request in: True if it holds a slot now, False if it is at the end of the queue.

        `load` is the work in flight in millionths, without the new request. Raises Refusal 429 "busy" if the estimated
        wait is above the limit, and 429 "queue_full"; ValueError if the key is already inside.
        """
        working = self._working
        if key in working or key in self._waiting:
            raise ValueError("this key is already inside the gate")
        if load > self._surely_within:
            self.check_wait(load)
        if self.max_concurrency and len(working) >= self.max_concurrency:
            self._queue(key, load)
            return False
        working.add(key)
        return True

    def free(self, key: Key) -> None:
        """
        End a request: it leaves the queue, or its slot goes to the next request, whose `slot` is called.

        Does nothing for a key that is not inside. A `slot` may call `free`, also for its own request. The slot that
        this frees is passed on after `slot` has returned, so that many failures in a row do not deepen the stack.
        """
        if not self._waiting:
            self._working.discard(key)
            return
        following = self.release(key)
        if following is None:
            self.leave(key)
            return
        self._next.append(following)
        self._hand_on()

    def upgraded(self, key: Key) -> None:
        """The request's connection was upgraded, and may last long: it gives up its slot."""
        self.free(key)

    def _hand_on(self) -> None:
        """Tell the requests that have got a slot, in the order in which they got it."""
        if self._handing_on:
            return  # the loop in the outer call continues
        self._handing_on = True
        try:
            while self._next:
                following = self._next.popleft()
                if following in self._working:  # otherwise it gave its slot back before this call
                    self._tell(following)
        finally:
            self._handing_on = False

    def _tell(self, key: Key) -> None:
        key.slot()

    def release(self, key: Key) -> Key | None:
        """Free the key's slot. Returns the key that now holds it, or None. Does nothing for an unknown key."""
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
        """Take a key out of the queue. Returns False if it was not there."""
        if key not in self._waiting:
            return False
        del self._waiting[key]
        return True

    def queued(self) -> list[Key]:
        """The keys in the queue, first come first."""
        return list(self._waiting)

    def dismiss(self) -> list[Key]:
        """Empty the queue. Returns the keys that waited, first come first."""
        waiting = self.queued()
        for key in waiting:
            self.leave(key)
        return waiting

    def check_wait(self, load: int) -> None:
        limit = self.max_wait_seconds
        if limit is not None and load and self.estimated_wait(load) > limit:
            wait = self.known_wait(load)
            message = f"the estimated wait is longer than the limit of {limit:g} s"
            raise Refusal(429, "busy", message, retry_after=self._retry_after(load), estimated_wait=wait)

    def _queue(self, key: Key, load: int) -> None:
        if len(self._waiting) >= self.max_queue:
            wait = self.known_wait(load)
            raise Refusal(
                429, "queue_full", "the queue is full", retry_after=self._retry_after(load), estimated_wait=wait
            )
        self._waiting[key] = None

    def _retry_after(self, load: int) -> float:
        limit = self.max_wait_seconds
        return max(1.0, self.estimated_wait(load) - limit) if limit is not None else 1.0
