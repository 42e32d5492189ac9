"""The result of a benchmark: `async def benchmark(backend_url, session) -> float`, units of work per second.

`session` is session.py's, an aiohttp.ClientSession for the backend, which this module does not import.
"""

from __future__ import annotations

import math
from numbers import Real


class Figure(float):
    """A benchmark's result: units of work per second, and how they were measured."""

    concurrency: int
    """Requests at once during the measurement; 0 if unknown."""
    served: str
    """The model that the backend serves, for comparison only; "" if unknown."""

    def __new__(cls, value: float, concurrency: int = 0, served: str = "") -> Figure:
        figure = super().__new__(cls, value)
        figure.concurrency = concurrency
        figure.served = served
        return figure

    @classmethod
    def checked(cls, value: object, concurrency: object = 0, served: object = "") -> Figure:
        """A figure from values of another process or a file. Raises ValueError if `value` is not a throughput."""
        at_once = concurrency if type(concurrency) is int and concurrency > 0 else 0
        return cls(throughput(value), at_once, served if isinstance(served, str) else "")


def throughput(value: object) -> float:
    """A benchmark's result as a float: units of work per second.

    Raises ValueError for anything but a finite number above zero. True does not count as a number.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ValueError(f"{type(value).__name__} is not a number")
    try:
        number = float(value)
    except OverflowError:
        raise ValueError("the number is too large") from None
    if not math.isfinite(number):
        raise ValueError(f"{number} is not a finite number")
    if number <= 0.0:
        raise ValueError(f"{number:g} is not above zero")
    return number
