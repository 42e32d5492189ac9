"""Axes and their ticks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vespa.loadtest.plots import Axis, spanning, up_to


class AxisTests(SynchronousTestCase):
    @given(st.floats(1e-6, 1e6), st.floats(0, 1e6))
    def test_ticks(self, high: float, low: float) -> None:
        """Named values lie on the axis, in order, and there are a few."""
        for axis in (up_to(high, str), spanning(min(low, high), high, str)):
            found = axis.ticks()
            self.assertEqual(found, sorted(set(found)))
            self.assertTrue(1 <= len(found) <= 9, found)
            for value in found:
                self.assertTrue(-1e-8 <= axis.share(value) <= 1 + 1e-8)

    def test_known(self) -> None:
        """Ticks are round numbers."""
        self.assertEqual(Axis(10, str).ticks(), [0, 2, 4, 6, 8, 10])
        self.assertEqual(Axis(30, str, 0.01).ticks(), [0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30])
        self.assertEqual(up_to(0.73, str).high, 0.8)
        self.assertEqual(up_to(0, str).high, 1.0)
