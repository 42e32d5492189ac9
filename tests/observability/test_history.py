"""Tests of `vespa.observability.history`."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vespa.observability.history import SECONDS, History


class HistoryTests(SynchronousTestCase):
    def test_empty(self) -> None:
        """Before the first row there is none."""
        history = History(["load"])
        self.assertEqual(history.document(100.0), {"from_at": 100.0, "step_seconds": 1, "load": []})
        self.assertIsNone(history.mean("load", 10))
        self.assertIsNone(history.newest)

    def test_rows(self) -> None:
        """Rows come back in order, with the time of the first; what has no value is a gap."""
        history = History(["load", "queue"])
        history.add(7, {"load": 1.0, "queue": 2.0})
        history.add(8, {"load": 3.0, "queue": None})
        history.add(11, {"load": math.inf, "queue": 4.0})
        expected = {"load": [1.0, 3.0, None, None, None], "queue": [2.0, None, None, None, 4.0]}
        self.assertEqual(history.document(100.0), {"from_at": 107.0, "step_seconds": 1, **expected})
        self.assertEqual(
            history.document(100.0, 2),
            {"from_at": 110.0, "step_seconds": 1, "load": [None, None], "queue": [None, 4.0]},
        )
        self.assertEqual(history.mean("queue", 5), 3.0)
        self.assertEqual(history.mean("queue", 1), 4.0)
        self.assertEqual([history.highest("load", rows) for rows in (5, 4, 3)], [3.0, 3.0, None])

    def test_digits(self) -> None:
        """A value has six significant digits, so that the document stays small."""
        history = History(["load"])
        history.add(0, {"load": 1 / 3})
        history.add(1, {"load": 123456789.0})
        self.assertEqual(history.columns()["load"], [0.333333, 123457000.0])

    def test_clock_goes_back(self) -> None:
        """A row before the newest one begins anew: the old rows have wrong times."""
        history = History(["load"])
        history.add(10, {"load": 1.0})
        history.add(3, {"load": 2.0})
        self.assertEqual(history.document(0.0), {"from_at": 3.0, "step_seconds": 1, "load": [2.0]})

    def test_same_row(self) -> None:
        """A row that is stored twice has the newer value."""
        history = History(["load"])
        history.add(10, {"load": 1.0})
        history.add(10, {"load": 2.0})
        self.assertEqual(history.columns()["load"], [2.0])

    def test_long_gap(self) -> None:
        """A gap that is longer than the ring leaves nothing of before."""
        history = History(["load"])
        history.add(0, {"load": 1.0})
        history.add(10 * SECONDS, {"load": 2.0})
        column = history.columns()["load"]
        self.assertEqual(len(column), SECONDS)
        self.assertEqual([value for value in column if value is not None], [2.0])

    @given(st.lists(st.tuples(st.integers(1, 9), st.floats(0, 10)), max_size=40))
    def test_like_a_list(self, steps: list[tuple[int, float]]) -> None:
        """The ring holds what the end of an endless list would hold, and never more rows than it has."""
        history = History(["load"], 16)
        rows: list[float | None] = []
        row = 0
        for step, value in steps:
            rows += [None] * (step - 1 if rows else 0) + [value]
            row += step
            history.add(row, {"load": value})
        expected = [None if value is None else float(f"{value:.6g}") for value in rows[-16:]]
        self.assertEqual(history.columns()["load"], expected)
