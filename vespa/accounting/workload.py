"""
Work, which Vast calls workload or cost, as whole millionths of a unit.

Sums of floats drift: a load that rises by 0.1 three times and falls by 0.1 three times is not zero again.
Whole numbers are exact.
"""

from __future__ import annotations

MICROS = 1_000_000  # millionths in one unit of work

MAX_COST = 1e9  # the highest cost of one request, in units of work, unless a setting limits it


def to_micros(cost: float) -> int:
    """Convert units to the nearest whole number of millionths. Raises ValueError or OverflowError if not finite."""
    return round(cost * MICROS)


def from_micros(micros: int) -> float:
    """Convert millionths to units of work."""
    return micros / MICROS
