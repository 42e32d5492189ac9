"""The search of a request whose worker is known: it asks no autoscaler."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from vespa.client.interfaces import RequestSearch, SearchListener
from vespa.vast.assignment import Assignment


class KnownWorkerSearch:
    """A `RequestSearch` that always finds the same worker."""

    _later: IDelayedCall | None = None
    _asked = False

    def __init__(self, clock: IReactorTime, assign: Callable[[], Assignment], pause: float = 0.0) -> None:
        """`assign` returns the assignment of each attempt. `pause` is the shortest before a second one, in seconds."""
        self._clock = clock
        self._assign = assign
        self._pause = pause

    def begin(self, listener: SearchListener, delay: float = 0.0, *, anew: bool = False) -> None:
        """Report the worker to `listener` after `delay` seconds."""
        if self._asked:
            delay = max(delay, self._pause)
        self._asked = True
        if delay:
            self._later = self._clock.callLater(delay, self._found, listener)
        else:
            self._found(listener)

    def cancel(self) -> None:
        """The request needs no worker any more."""
        later, self._later = self._later, None
        if later is not None:
            later.cancel()

    def give_up(self, seconds: float) -> None:
        """Nothing waits for an autoscaler."""

    def _found(self, listener: SearchListener) -> None:
        self._later = None
        listener.found(self._assign())


_check: type[RequestSearch] = KnownWorkerSearch
