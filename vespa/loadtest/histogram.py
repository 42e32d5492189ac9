"""Many measured values in limited memory: exact up to a number of values, and a histogram above it."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections import Counter
from itertools import accumulate
from typing import Final

from attrs import frozen

EXACT: Final = 100_000
"""The number of values that are kept exactly. Further values are counted in a histogram."""

STEP: Final = 1.01
"""The factor between the histogram's bars. A quantile from it has an error of at most half a percent."""

_LOG_STEP: Final = math.log(STEP)
_SMALLEST: Final = 1e-6  # a value below a microsecond counts as zero


@frozen
class Spread:
    """The distribution of values, in their own unit. `quantiles`: those of 0, 1, … 100 %. All 0 without values."""

    count: int
    exact: bool
    mean: float
    min: float
    p50: float
    p90: float
    p95: float
    p99: float
    max: float
    quantiles: tuple[float, ...]


class Histogram:
    """Values of 0 and above. The first `exact` values are kept, and the others are counted in bars."""

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
        """Whether quantiles are exact values, not a histogram's."""
        return not self._bars

    @property
    def held(self) -> int:
        """The number of kept numbers: values, and bars."""
        return len(self._bars) + len(self._values)

    def add(self, value: float) -> None:
        """Count one more value."""
        self.count += 1
        self.total += value
        if value > self.largest:
            self.largest = value
        if value < self.smallest:
            self.smallest = value
        self._keep(value)

    def merge(self, other: Histogram) -> None:
        """Add all values of another histogram."""
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
        For each share (0 to 1) the smallest value that this share of all values does not exceed.

        0.0 each without values.
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
            # The smallest and the largest value are known exactly.
            end = self.smallest if rank == 1 else self.largest if rank == self.count else None
            value = ordered[bisect_left(reached, rank)]
            middle = value if self.exact else _middle(value)
            found.append(min(max(middle, self.smallest), self.largest) if end is None else end)
        return found

    def spread(self) -> Spread:
        """The figures for a report."""
        hundred = self.quantiles(*[percent / 100 for percent in range(101)])
        mean = self.total / self.count if self.count else 0.0
        p50, p90, p95, p99 = (hundred[percent] for percent in (50, 90, 95, 99))
        return Spread(self.count, self.exact, mean, hundred[0], p50, p90, p95, p99, self.largest, tuple(hundred))

    def _keep(self, value: float) -> None:
        if len(self._values) < self._bound:
            self._values.append(value)
        else:
            bar = _bar(value)
            self._bars[bar] = self._bars.get(bar, 0) + 1


def _bar(value: float) -> int:
    """The number of the bar in which a value is counted."""
    return math.floor(math.log(value / _SMALLEST) / _LOG_STEP) if value > _SMALLEST else -1


def _middle(bar: float) -> float:
    middle: float = _SMALLEST * STEP ** (bar + 0.5)
    return middle if bar >= 0 else 0.0
