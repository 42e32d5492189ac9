from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vespa.observability.histogram import Exemplar, Histogram

BOUNDS = (0.005, 0.1, 1.0, 60.0)
# Values around the bounds, on them, above them and below zero.
values = st.lists(st.floats(-5, 100) | st.sampled_from([0.0, *BOUNDS, math.nextafter(0.1, 1), 1e6]), max_size=40)


class HistogramTests(SynchronousTestCase):
    @given(st.lists(values, max_size=6), st.integers(0, 5))
    def test_law(self, batches: list[list[float]], zeros: int) -> None:
        """Each value is counted in the first bucket whose bound is not below it, however the values are divided."""
        histogram = Histogram(BOUNDS)
        histogram.add_zeros(zeros)
        before = [0] * (len(BOUNDS) + 1)
        for batch in batches:
            histogram.add_sorted(sorted(batch))
            after = histogram.cumulative()
            self.assertTrue(all(new >= old for new, old in zip(after, before, strict=True)))
            before = after
        counted = [max(0.0, value) for batch in batches for value in batch] + [0.0] * zeros
        expected = [sum(value <= bound for value in counted) for bound in (*BOUNDS, math.inf)]
        self.assertEqual(histogram.cumulative(), expected)
        self.assertEqual(histogram.count, len(counted))
        self.assertAlmostEqual(histogram.sum, math.fsum(counted))

    def test_one(self) -> None:
        """One value at a time comes to the same."""
        one, many = Histogram(BOUNDS), Histogram(BOUNDS)
        several = [0.001, 0.005, 0.1, 5.0, 61.0]
        for value in several:
            one.add(value)
        many.add_sorted(several)
        self.assertEqual((one.counts, one.sum), (many.counts, many.sum))
        self.assertEqual(one.counts, [2, 1, 0, 1, 1])

    def test_clock_set_back(self) -> None:
        """A time below zero counts as zero: the sum never falls."""
        histogram = Histogram(BOUNDS)
        histogram.add_sorted([-3600.0, -1.0, 0.5])
        self.assertEqual((histogram.counts, histogram.sum), ([2, 0, 1, 0, 0], 0.5))

    def test_exemplars(self) -> None:
        """Each bucket keeps its newest exemplar."""
        histogram = Histogram(BOUNDS)
        for value, trace in ((0.1, "a"), (0.05, "b"), (0.2, "c"), (100.0, "d")):
            histogram.note(Exemplar(value, trace, 1.0))
        self.assertEqual(
            [exemplar and exemplar.trace_id for exemplar in histogram.exemplars], [None, "b", "c", None, "d"]
        )

    def test_bounds(self) -> None:
        """Bounds that do not ascend are an error."""
        for bounds in ((1.0, 1.0), (2.0, 1.0)):
            self.assertRaises(ValueError, Histogram, bounds)
