"""Sends every request to one worker, without an autoscaler: for the development of a worker (VAST_DEBUG_WORKER_URL)."""

from __future__ import annotations

import json
from itertools import count
from typing import Final

from twisted.internet.interfaces import IReactorTime

from vespa.client.known_worker import KnownWorkerSearch
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

    def search(self, cost: float, began_at: float) -> KnownWorkerSearch:
        """A search for the worker, like a `WorkerSearch`."""
        return KnownWorkerSearch(self._clock, lambda: self.assignment(cost), _AGAIN_SECONDS)

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
