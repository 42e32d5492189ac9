"""The result of a benchmark: `async def benchmark(backend_url, session) -> float`, units of work per second.

`session` is session.py's, an aiohttp.ClientSession for the backend, which this module does not import.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any, NamedTuple


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


class Level(NamedTuple):
    """A part of a measurement: so many requests at once, for some time."""

    concurrency: int
    throughput: float
    """Units of work per second."""
    spread: float | None = None
    """The standard deviation of the throughput within this part, as a share of its mean; None if unknown."""
    unit: str = "units"
    ended: int = 0
    """Requests that got their whole response."""
    failed: int = 0
    seconds: float = 0.0

    @classmethod
    def checked(cls, values: object) -> Level:
        """A level from values of another process. Raises ValueError if they are none."""
        if not isinstance(values, Mapping) or not values.keys() <= set(cls._fields):
            raise ValueError("not the values of a level")
        level = cls(**{"concurrency": 0, "throughput": 0.0, **values})
        numbers = (level.throughput, level.seconds, level.spread or 0.0)
        counts = (level.concurrency, level.ended, level.failed)
        if any(type(each) is not int or each < 0 for each in counts) or not isinstance(level.unit, str):
            raise ValueError("not the values of a level")
        if any(type(each) not in (int, float) or not math.isfinite(each) or each < 0 for each in numbers):
            raise ValueError("not the values of a level")
        return level

    def values(self) -> dict[str, Any]:
        """The values by name, which JSON can express."""
        return dict(zip(self._fields, self, strict=True))


_listener: Callable[[dict[str, Any]], None] | None = None


def listen(listener: Callable[[dict[str, Any]], None] | None) -> None:
    """Have `listener` called with what `report_level` and `report_progress` are called with. None ends that."""
    global _listener
    _listener = listener


def report_level(level: Level) -> None:
    """A benchmark may call this after each part of its measurement: `vespa-proxy benchmark` shows them as a table."""
    if _listener is not None:
        _listener({"level": level.values()})


def report_progress(share: float) -> None:
    """A benchmark may call this with the share of its time that is over, from 0 to 1, for a progress bar."""
    if _listener is not None:
        _listener({"progress": min(1.0, max(0.0, share))})


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
