"""
Work, which Vast calls workload or cost, held as whole millionths of a unit.

Sums of floats drift: a load that went up by 0.1 three times and down three times would not be zero again.
Whole numbers are exact.
"""

from __future__ import annotations

MICROS = 1_000_000
"""Millionths in one unit of work."""

MAX_COST = 1e9
"""The most that one request may cost, in units of work, where nothing says otherwise."""


def to_micros(cost: float) -> int:
    """The nearest whole number of millionths. Raises ValueError or OverflowError for NaN and the infinities."""
    return round(cost * MICROS)


def from_micros(micros: int) -> float:
    """The units of work that so many millionths are."""
    return micros / MICROS
