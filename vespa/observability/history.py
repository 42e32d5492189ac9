"""The figures of the last quarter of an hour, one row a second."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping, Sequence
from typing import Any, Final

SECONDS: Final = 900
"""The number of rows: 15 minutes."""

_DIGITS: Final = 6  # significant digits of a value


class History:
    """
    A ring of rows for each figure, in arrays of a fixed size: 7 KiB a figure.

    A row is a whole number of seconds since any moment that the caller chooses. A row without a value is a gap.
    """

    def __init__(self, names: Sequence[str], rows: int = SECONDS) -> None:
        """`names` are the figures, `rows` the number of seconds that are kept."""
        self.names = tuple(names)
        self._rows = rows
        self._newest: int | None = None
        self._count = 0
        self._columns = {name: array("d", [math.nan]) * rows for name in self.names}

    @property
    def newest(self) -> int | None:
        """The newest row; None before the first."""
        return self._newest

    def add(self, row: int, values: Mapping[str, float | None]) -> None:
        """Store a row. The rows between it and the newest one are gaps. A row before the newest one clears all."""
        newest = self._newest
        if newest is None or row < newest:
            self._count, skipped = 0, self._rows
        else:
            skipped = min(row - newest, self._rows)
        for gap in range(row - skipped + 1, row + 1):
            for column in self._columns.values():
                column[gap % self._rows] = math.nan
        self._count = min(self._count + (skipped if self._count else 1), self._rows)
        self._newest = row
        for name, column in self._columns.items():
            value = values.get(name)
            column[row % self._rows] = _kept(value)

    def columns(self, rows: int = SECONDS) -> dict[str, list[float | None]]:
        """The newest rows of each figure, the oldest first. A gap is None, and so is a value that is not finite."""
        if self._newest is None:
            return {name: [] for name in self.names}
        first = self._newest - min(self._count, rows) + 1
        places = [row % self._rows for row in range(first, self._newest + 1)]
        # A value that is not a number is the only one that is not equal to itself. This is called for thousands.
        return {
            name: [value if (value := column[place]) == value else None for place in places]
            for name, column in self._columns.items()
        }

    def mean(self, name: str, rows: int) -> float | None:
        """The mean of the values in the newest rows; None if there is none."""
        values = [value for value in self._last(name, rows) if math.isfinite(value)]
        return sum(values) / len(values) if values else None

    def highest(self, name: str, rows: int) -> float | None:
        """The highest value in the newest rows; None if there is none."""
        return max((value for value in self._last(name, rows) if math.isfinite(value)), default=None)

    def _last(self, name: str, rows: int) -> list[float]:
        if self._newest is None:
            return []
        column = self._columns[name]
        first = self._newest - min(self._count, rows) + 1
        return [column[row % self._rows] for row in range(first, self._newest + 1)]

    def document(self, started_at: float, rows: int = SECONDS) -> dict[str, Any]:
        """
        The newest rows for the document: `from_at` (epoch seconds of the first), `step_seconds`, and a list a figure.

        `started_at` is the moment of row 0, in epoch seconds.
        """
        first = 0 if self._newest is None else self._newest - min(self._count, rows) + 1
        return {"from_at": started_at + first, "step_seconds": 1, **self.columns(rows)}


def _kept(value: float | None) -> float:
    """The value with few digits, so that the document is small; not a number if there is none, or if it is infinite."""
    return float(f"{value:.{_DIGITS}g}") if value is not None and math.isfinite(value) else math.nan
