from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vespa.accounting.workload import from_micros, to_micros


class WorkTests(SynchronousTestCase):
    @given(st.integers(min_value=0, max_value=10**15))
    def test_round_trip(self, micros: int) -> None:
        """Millionths survive a trip through units, up to the largest cost that is usual to allow."""
        self.assertEqual(to_micros(from_micros(micros)), micros)

    @given(st.lists(st.floats(min_value=0, max_value=1e9)))
    def test_sums_are_exact(self, costs: list[float]) -> None:
        """Amounts added in one order and removed in another give exactly zero."""
        micros = [to_micros(cost) for cost in costs]
        total = sum(micros)
        for value in sorted(micros):
            total -= value
        self.assertEqual(total, 0)

    def test_not_a_number(self) -> None:
        """NaN and the infinities are no work."""
        self.assertRaises(ValueError, to_micros, float("nan"))
        self.assertRaises(OverflowError, to_micros, float("inf"))
