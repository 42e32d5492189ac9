"""An estimate of the backend's true throughput from the requests that it serves, beside the benchmark's figure."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from enum import IntEnum
from typing import Final

LOWEST: Final = 0.5
HIGHEST: Final = 2.0
"""The bounds of the factor. Beyond them the benchmark was not of this backend, and should be run again."""

HALF_LIFE_SECONDS: Final = 300.0
"""After so many seconds of measured time, what was measured before counts half."""

WINDOW_SECONDS: Final = 10.0
"""So many seconds of measured time make one measurement, so that no single request decides."""

LONGEST_STEP: Final = 5.0
"""Seconds between two samples over which the state in between is unknown: the process stood still."""

HISTORY: Final = 900
"""The number of samples that are kept. With one a second, of longer requests only the last part counts."""


ENDED_MAX: Final = 512
"""Requests that are kept until the next sample. The others are left out, which does not bias the estimate."""


class Load(IntEnum):
    """What the load of the backend can tell of its throughput."""

    LIGHT = 0  # nothing
    LIMITED = 1  # the worker refuses more requests by its wait limit: the backend does at least this
    BUSY = 2  # the backend does all that it can


class ThroughputEstimate:
    """
    Estimates the factor between the true throughput and the benchmark's figure.

    Once a second `sample` gets the state of the backend, and each served request is given to `ended`. `factor` is 1.0
    at first, and never outside `LOWEST` and `HIGHEST`.

    With `n` requests at the backend each has the n-th part of its time. So the time of the backend that a request used
    is the integral of 1/n from its start to its end, and by the benchmark's figure that time was worth a certain work:
    the integral of figure/n. The factor is the work that requests really were, divided by that. Both belong to the same
    request, so a request that nobody measured, failed or still runs is in neither. The virtual time of
    generalized processor sharing is this integral (Parekh and Gallager, IEEE/ACM Transactions on Networking 1(3), June
    1993).

    A backend with little to do says nothing of what it could do. So only those parts of requests count in which it was
    BUSY. Those in which it was LIMITED count if they show more than the present estimate. BBR treats samples of a
    path's bandwidth in this way that were taken while the application limited it (Cardwell and others, ACM Queue 14(5),
    2016, `app_limited`).
    """

    def __init__(self) -> None:
        self.factor = 1.0
        self._samples = _Samples()
        self._now = -math.inf
        self._load = Load.LIGHT
        self._at_backend = 0
        self._figure = 0.0
        self._windows = {Load.BUSY: _Window(), Load.LIMITED: _Window()}
        self._ended: list[tuple[float, float, float]] = []

    @property
    def measured(self) -> bool:
        """Whether the factor was measured, and is not only assumed."""
        return any(window.closed for window in self._windows.values())

    @property
    def pending(self) -> int:
        """Requests that count at the next sample."""
        return len(self._ended)

    def sample(self, now: float, at_backend: int, load: Load, figure: float) -> None:
        """
        The present state: the number of requests at the backend, and the benchmark's figure in units a second.

        `now` is in epoch seconds. If it went back, or jumped, nothing is concluded from the time before.
        """
        seconds = now - self._now
        if not 0 <= seconds < math.inf:
            self._samples = _Samples()
            seconds = 0.0
        # Between two samples the backend was as loaded as at the less loaded one.
        between = min(load, self._load) if seconds <= LONGEST_STEP else Load.LIGHT
        at_once = (at_backend + self._at_backend) / 2
        worth = seconds * self._figure / at_once if at_once else 0.0
        self._samples.add(now, seconds, between if at_once else Load.LIGHT, worth)
        self._now, self._load, self._at_backend, self._figure = now, load, at_backend, figure
        ended, self._ended = self._ended, []
        for started_at, ended_at, work in ended:
            self._count(started_at, ended_at, work)

    def ended(self, started_at: float, ended_at: float, work: float) -> None:
        """
        A request was at the backend from `started_at` to `ended_at`, in epoch seconds, and was so many units of work.

        It counts at the next sample. Of those between two samples, at most `ENDED_MAX` count.
        """
        if 0 < ended_at - started_at < math.inf and 0 < work < math.inf and len(self._ended) < ENDED_MAX:
            self._ended.append((started_at, ended_at, work))

    def _count(self, started_at: float, ended_at: float, work: float) -> None:
        seconds = ended_at - started_at
        for load, window in self._windows.items():
            overlap, worth = self._samples.between(started_at, ended_at, load)
            if overlap <= 0 or worth <= 0:
                continue
            window.done += work * min(1.0, overlap / seconds)
            window.worth += worth
            if self._figure > 0 and window.worth >= WINDOW_SECONDS * self._figure:
                self._close(load, window)

    def _close(self, load: Load, window: _Window) -> None:
        measured = min(HIGHEST, max(LOWEST, window.done / window.worth))
        if load is Load.BUSY or measured > self.factor:
            kept = 0.5 ** (window.worth / self._figure / HALF_LIFE_SECONDS)
            self.factor = self.factor * kept + measured * (1.0 - kept)
            window.closed += 1
        window.done = window.worth = 0.0


class _Window:
    """Work of requests, and what their time was worth by the benchmark."""

    def __init__(self) -> None:
        self.done = 0.0
        self.worth = 0.0
        self.closed = 0  # windows that changed the estimate


class _Samples:
    """The seconds with each load up to each sample, and what a request's share of them was worth."""

    def __init__(self) -> None:
        self._times = array("d")
        self._sums = {load: (array("d"), array("d")) for load in (Load.BUSY, Load.LIMITED)}

    def add(self, now: float, seconds: float, load: Load, worth: float) -> None:
        """`load` was that of the last `seconds`, and `worth` a request's share of them."""
        self._times.append(now)
        for each, (overlaps, worths) in self._sums.items():
            counts = each is load
            overlaps.append((overlaps[-1] if overlaps else 0.0) + (seconds if counts else 0.0))
            worths.append((worths[-1] if worths else 0.0) + (worth if counts else 0.0))
        if len(self._times) >= 2 * HISTORY:
            for sums in (self._times, *(each for pair in self._sums.values() for each in pair)):
                del sums[:HISTORY]

    def between(self, start: float, end: float, load: Load) -> tuple[float, float]:
        """The seconds with this load within `start` and `end`, and a request's share of them."""
        overlaps, worths = self._sums[load]
        return self._at(end, overlaps) - self._at(start, overlaps), self._at(end, worths) - self._at(start, worths)

    def _at(self, time: float, sums: array[float]) -> float:
        """The sum at a time, in between samples in proportion."""
        times = self._times
        if not times:
            return 0.0
        place = bisect_right(times, time)
        if place == 0:
            return sums[0]
        if place == len(times):
            return sums[-1]
        began, ended = times[place - 1], times[place]
        return sums[place - 1] + (sums[place] - sums[place - 1]) * (time - began) / (ended - began)
