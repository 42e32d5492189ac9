"""Many measured values in bounded memory: exact up to a bound, and a histogram above it."""

from __future__ import annotations

import math
from array import array
from typing import Final

from attrs import frozen

EXACT: Final = 100_000
"""So many values are kept as they are; one more, and they are counted in a histogram."""

STEP: Final = 1.01
"""The histogram's bars grow by this factor: a quantile read from it is off by half a percent at most."""

_LOG_STEP: Final = math.log(STEP)
_SMALLEST: Final = 1e-6
"""What is below a microsecond counts as zero."""
_MIDDLE: Final = math.sqrt(STEP)


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
    """Values of 0 and above. `exact` is how many are kept as they are."""

    def __init__(self, exact: int = EXACT) -> None:
        self.count = 0
        self.total = 0.0
        self.largest = 0.0
        self.smallest = math.inf
        self._bound = exact
        self._values: array[float] | None = array("d")
        self._bars: dict[int, int] = {}

    @property
    def exact(self) -> bool:
        """Whether quantiles are values that were added, and not a histogram's."""
        return self._values is not None

    @property
    def held(self) -> int:
        """How many numbers are kept: values, and bars that count them."""
        return len(self._bars) + len(self._values or ())

    def add(self, value: float) -> None:
        """Count one more."""
        self.count += 1
        self.total += value
        if value > self.largest:
            self.largest = value
        if value < self.smallest:
            self.smallest = value
        bar = math.floor(math.log(value / _SMALLEST) / _LOG_STEP) if value > _SMALLEST else -1
        self._bars[bar] = self._bars.get(bar, 0) + 1
        if self._values is not None:
            self._values.append(value)
            if self.count > self._bound:
                # The bars have counted from the beginning: to count them all now would stop the tester for a while.
                self._values = None

    def merge(self, other: Histogram) -> None:
        """Count all that another has counted."""
        self.count += other.count
        self.total += other.total
        self.largest = max(self.largest, other.largest)
        self.smallest = min(self.smallest, other.smallest)
        for bar, times in other._bars.items():
            self._bars[bar] = self._bars.get(bar, 0) + times
        if self._values is None or other._values is None or self.count > self._bound:
            self._values = None
        else:
            self._values.extend(other._values)

    def quantiles(self, *shares: float) -> list[float]:
        """
        For each share (0 to 1, in order) the smallest value that so large a share of all values does not exceed.

        0.0 each where there are no values.
        """
        if not self.count:
            return [0.0] * len(shares)
        ranks = [min(self.count, max(1, math.ceil(share * self.count))) for share in shares]
        if self._values is not None:
            ordered = sorted(self._values)
            return [ordered[rank - 1] for rank in ranks]
        return self._read_bars(ranks)

    def spread(self) -> Spread:
        """All that a report says of them."""
        hundred = self.quantiles(*[percent / 100 for percent in range(101)])
        return Spread(
            count=self.count,
            exact=self.exact,
            mean=self.total / self.count if self.count else 0.0,
            min=self.smallest if self.count else 0.0,
            p50=hundred[50],
            p90=hundred[90],
            p99=hundred[99],
            max=self.largest,
            quantiles=tuple(hundred),
        )

    def _read_bars(self, ranks: list[int]) -> list[float]:
        found: list[float] = []
        seen = 0
        bars = iter(sorted(self._bars.items()))
        value = 0.0
        for rank in ranks:
            while seen < rank:
                bar, times = next(bars)
                seen += times
                value = _SMALLEST * STEP**bar * _MIDDLE if bar >= 0 else 0.0
            # The ends are known, whatever their bars' middles are.
            end = self.smallest if rank == 1 else self.largest if rank == self.count else value
            found.append(min(max(end, self.smallest), self.largest))
        return found
