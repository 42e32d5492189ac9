"""Sends every request to one worker, without an autoscaler: for the development of a worker (VAST_DEBUG_WORKER_URL)."""

from __future__ import annotations

import json
from itertools import count
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from vespa.client.interfaces import SearchListener
from vespa.vast.assignment import Assignment

_AGAIN_SECONDS: Final = 1.0  # the shortest pause before another attempt, because there is no other worker


class DebugWorker:
    """
    Stands in for the autoscaler: it assigns each request to the worker at `url`, with an empty signature.

    Vast's own client sends an `auth_data` of `url` and `request_idx` alone, which workers refuse as incomplete. So
    these have all members, and each request has an index of its own.
    """

    def __init__(self, url: str, endpoint: str, clock: IReactorTime) -> None:
        self._url = url
        self._endpoint = endpoint or "debug"
        self._clock = clock
        self._numbers = count(1)

    def search(self, cost: float, began_at: float) -> DebugSearch:
        """A search for the worker, like a `WorkerSearch`."""
        return DebugSearch(self, self._clock, cost)

    def assignment(self, cost: float) -> Assignment:
        """A new assignment."""
        number = next(self._numbers)
        values = {
            "cost": cost,
            "endpoint": self._endpoint,
            "reqnum": number,
            "request_idx": number,
            "signature": "",
            "url": self._url,
        }
        texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}
        return Assignment(self._url, number, json.dumps(values).encode(), texts)


class DebugSearch:
    """A search that always finds the one worker."""

    _pending: IDelayedCall | None = None
    _asked = False

    def __init__(self, worker: DebugWorker, clock: IReactorTime, cost: float) -> None:
        self._worker = worker
        self._clock = clock
        self._cost = cost

    def begin(self, listener: SearchListener, delay: float = 0.0, *, anew: bool = False) -> None:
        """Report the worker to `listener`: at once for the first attempt, later for others."""
        if self._asked:
            self._pending = self._clock.callLater(max(delay, _AGAIN_SECONDS), self._found, listener)
        else:
            self._asked = True
            self._found(listener)

    def cancel(self) -> None:
        """Stop the search."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.cancel()

    def give_up(self, seconds: float) -> None:
        """Nothing waits for an autoscaler."""

    def _found(self, listener: SearchListener) -> None:
        self._pending = None
        listener.found(self._worker.assignment(self._cost))
