"""Many measured values in bounded memory: exact up to a bound, and a histogram above it."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections import Counter
from itertools import accumulate
from typing import Final

from attrs import frozen

EXACT: Final = 100_000
"""So many values are kept as they are; one more, and they are counted in a histogram."""

STEP: Final = 1.01
"""The histogram's bars grow by this factor: a quantile read from it is off by half a percent at most."""

_LOG_STEP: Final = math.log(STEP)
_SMALLEST: Final = 1e-6
"""What is below a microsecond counts as zero."""


@frozen
class Spread:
    """How values are spread, in their own unit. `quantiles`: those of 0, 1, … 100 %. All 0 where there are none."""

    count: int
    exact: bool
    mean: float
    min: float
    p50: float
    p90: float
    p99: float
    max: float
    quantiles: tuple[float, ...]


class Histogram:
    """Values of 0 and above. The first `exact` of them are kept as they are, and the others counted in bars."""

    def __init__(self, exact: int = EXACT) -> None:
        self.count = 0
        self.total = 0.0
        self.largest = 0.0
        self.smallest = math.inf
        self._bound = exact
        self._values = array("d")
        self._bars: dict[int, int] = {}

    @property
    def exact(self) -> bool:
        """Whether quantiles are values that were added, and not a histogram's."""
        return not self._bars

    @property
    def held(self) -> int:
        """How many numbers are kept: values, and bars that count them."""
        return len(self._bars) + len(self._values)

    def add(self, value: float) -> None:
        """Count one more."""
        self.count += 1
        self.total += value
        if value > self.largest:
            self.largest = value
        if value < self.smallest:
            self.smallest = value
        self._keep(value)

    def merge(self, other: Histogram) -> None:
        """Count all that another has counted."""
        self.count += other.count
        self.total += other.total
        self.largest = max(self.largest, other.largest)
        self.smallest = min(self.smallest, other.smallest)
        for bar, times in other._bars.items():
            self._bars[bar] = self._bars.get(bar, 0) + times
        for value in other._values:
            self._keep(value)

    def quantiles(self, *shares: float) -> list[float]:
        """
        For each share (0 to 1) the smallest value that so large a share of all values does not exceed.

        0.0 each where there are no values.
        """
        if not self.count:
            return [0.0] * len(shares)
        counts: Counter[float] = Counter(self._values if self.exact else map(_bar, self._values))
        counts.update(self._bars)
        ordered = sorted(counts)
        reached = list(accumulate(counts[value] for value in ordered))
        found = []
        for share in shares:
            rank = max(1, math.ceil(share * self.count))
            # The ends are known, whatever their bars' middles are.
            end = self.smallest if rank == 1 else self.largest if rank == self.count else None
            value = ordered[bisect_left(reached, rank)]
            middle = value if self.exact else _middle(value)
            found.append(min(max(middle, self.smallest), self.largest) if end is None else end)
        return found

    def spread(self) -> Spread:
        """All that a report says of them."""
        hundred = self.quantiles(*[percent / 100 for percent in range(101)])
        mean = self.total / self.count if self.count else 0.0
        p50, p90, p99 = (hundred[percent] for percent in (50, 90, 99))
        return Spread(self.count, self.exact, mean, hundred[0], p50, p90, p99, self.largest, tuple(hundred))

    def _keep(self, value: float) -> None:
        if len(self._values) < self._bound:
            self._values.append(value)
        else:
            bar = _bar(value)
            self._bars[bar] = self._bars.get(bar, 0) + 1


def _bar(value: float) -> int:
    """The number of the bar that a value is counted in."""
    return math.floor(math.log(value / _SMALLEST) / _LOG_STEP) if value > _SMALLEST else -1


def _middle(bar: float) -> float:
    middle: float = _SMALLEST * STEP ** (bar + 0.5)
    return middle if bar >= 0 else 0.0
