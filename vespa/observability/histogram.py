"""Histograms with fixed buckets, as Prometheus counts them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from attrs import frozen


@frozen
class Exemplar:
    """One value of a bucket: the trace that it belongs to, and when it was seen (epoch seconds)."""

    value: float
    trace_id: str
    at: float


class Histogram:
    """
    Counts values by bucket.

    `bounds` are the upper bounds of the buckets, ascending, each included in its bucket. One more bucket has all values
    above the last bound. `counts` has the number of values of each bucket alone, `sum` is the sum of all values, and
    `exemplars` has the newest exemplar of each bucket.

    A value below zero counts as zero. The system's clock was then set back while it was measured, and a sum that falls
    would look like a restart.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        """Raises ValueError if the bounds do not ascend."""
        if any(after <= before for before, after in zip(bounds, bounds[1:], strict=False)):
            raise ValueError(f"the bounds of a histogram must ascend: {bounds}")
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.sum = 0.0
        self.exemplars: list[Exemplar | None] = [None] * len(self.counts)

    @property
    def count(self) -> int:
        """The number of values."""
        return sum(self.counts)

    def add(self, value: float) -> None:
        """Count one value."""
        self.add_sorted([value])

    def add_zeros(self, number: int) -> None:
        """Count so many values that are zero."""
        self.counts[0] += number

    def add_sorted(self, values: Sequence[float]) -> None:
        """Count many values, ascending: much faster than one after the other."""
        if not values:
            return
        if values[0] < 0:
            values = [max(0.0, value) for value in values]
        counts, number, highest = self.counts, len(values), values[-1]
        at = bucket = 0
        for bound in self.bounds:
            if highest <= bound:
                break
            after = bisect_right(values, bound, at)
            counts[bucket] += after - at
            at = after
            bucket += 1
        counts[bucket] += number - at
        self.sum += sum(values)

    def note(self, exemplar: Exemplar) -> None:
        """Keep an exemplar of a value that was counted."""
        self.exemplars[bisect_left(self.bounds, exemplar.value)] = exemplar

    def cumulative(self) -> list[int]:
        """The number of values up to each bound, and of all values."""
        total = 0
        sums = []
        for count in self.counts:
            total += count
            sums.append(total)
        return sums
