"""Where a value stands on an axis, and which values are named there."""

from __future__ import annotations

import math
from typing import Final

from attrs import frozen

_NOTHING: Final = 1e-9


@frozen
class Scale:
    """
    From values between `low` and `high` to places between `start` and `end`.

    `low` is less than `high`, and above 0 where the scale is a log one.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The place of a value; of one outside, the nearer end's."""
        value = min(max(value, self.low), self.high)
        if self.log:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self, most: int = 6) -> list[float]:
        """Round values to name, `most` or a few more."""
        return log_ticks(self.low, self.high, most) if self.log else ticks(self.low, self.high, most)


def up_to(high: float, start: float, end: float) -> Scale:
    """A linear scale from 0 that ends at a round value not below `high`."""
    high = high if high > _NOTHING else 1.0
    step = _step(0.0, high, 5)
    return Scale(0.0, math.ceil(high / step - 1e-9) * step, start, end)


def spanning(low: float, high: float, start: float, end: float) -> Scale:
    """A scale for values above 0: a log one where they are of several magnitudes, else a linear one from 0."""
    if low <= _NOTHING or high / low < 30:
        return up_to(high, start, end)
    return Scale(low, high, start, end, log=True)


def ticks(low: float, high: float, most: int) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten."""
    step = _step(low, high, most)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [_round(number * step) for number in range(first, last + 1)]


def log_ticks(low: float, high: float, most: int) -> list[float]:
    """Powers of ten, with their doubles and fives where there is room."""
    for factors in ((1, 2, 5), (1, 3), (1,)):
        exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        found = [_round(factor * 10.0**exponent) for exponent in exponents for factor in factors]
        found = [value for value in found if low * 0.999 <= value <= high * 1.001]
        if len(found) <= most + 2:
            return found
    return found[:: math.ceil(len(found) / most)]


def _step(low: float, high: float, most: int) -> float:
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)


def _round(value: float) -> float:
    return float(f"{value:.10g}")
