"""Quantiles, exact and from the histogram."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.seeds import examples
from vespa.loadtest.histogram import STEP, Histogram

VALUES = st.lists(st.floats(0, 1e5, allow_subnormal=False), min_size=1, max_size=200)
SHARES = st.lists(st.floats(0, 1), min_size=1, max_size=5).map(sorted)


def samples(values: list[float], exact: int = 1000) -> Histogram:
    made = Histogram(exact)
    for value in values:
        made.add(value)
    return made


class ExactTests(SynchronousTestCase):
    @given(VALUES, SHARES)
    def test_quantiles(self, values: list[float], shares: list[float]) -> None:
        """A quantile is the smallest value that at least its share of all values does not exceed."""
        for share, found in zip(shares, samples(values).quantiles(*shares), strict=True):
            self.assertIn(found, values)
            self.assertGreaterEqual(sum(value <= found for value in values), share * len(values))
            lower = [value for value in values if value < found]
            if lower and share > 0:
                self.assertLess(sum(value <= max(lower) for value in values), share * len(values) + 1e-6)

    def test_known(self) -> None:
        """Of 1 to 100 the quantiles are what anybody would say, and the ends are the least and the most."""
        spread = samples([float(value) for value in range(100, 0, -1)]).spread()
        self.assertEqual((spread.p50, spread.p90, spread.p95, spread.p99), (50, 90, 95, 99))
        self.assertEqual((spread.min, spread.max, spread.mean, spread.count, spread.exact), (1, 100, 50.5, 100, True))
        self.assertEqual((spread.quantiles[0], spread.quantiles[100]), (1, 100))

    def test_none(self) -> None:
        """An empty histogram gives 0 for everything."""
        spread = Histogram().spread()
        self.assertEqual((spread.count, spread.mean, spread.min, spread.p50, spread.max), (0, 0, 0, 0, 0))


class HistogramTests(SynchronousTestCase):
    @given(VALUES, SHARES)
    def test_close(self, values: list[float], shares: list[float]) -> None:
        """Beyond the bound a quantile is within half a step of the exact one, or a microsecond."""
        exact, rough = samples(values), samples(values, exact=0)
        self.assertFalse(rough.exact)
        for true, found in zip(exact.quantiles(*shares), rough.quantiles(*shares), strict=True):
            self.assertLessEqual(abs(found - true), true * (math.sqrt(STEP) - 1) + 1.1e-6)

    @given(VALUES)
    def test_ends(self, values: list[float]) -> None:
        """Least, most, mean and number are exact all the same."""
        exact, rough = samples(values).spread(), samples(values, exact=0).spread()
        for name in ("count", "min", "max", "mean"):
            self.assertEqual(getattr(exact, name), getattr(rough, name), name)

    @given(VALUES)
    def test_in_order(self, values: list[float]) -> None:
        """A larger share's quantile is never smaller."""
        quantiles = samples(values, exact=0).spread().quantiles
        self.assertEqual(list(quantiles), sorted(quantiles))

    def test_bound(self) -> None:
        """The bound itself is still exact; one more is not, and memory grows no more with what is added."""
        made = samples([1.0] * 10, exact=10)
        self.assertTrue(made.exact)
        made.add(2.0)
        self.assertFalse(made.exact)
        for number in range(100_000):
            made.add(number * 1e-3)
        self.assertLess(made.held, 2000)


class MergeTests(SynchronousTestCase):
    @settings(max_examples=examples(50))
    @given(VALUES, VALUES, st.sampled_from([0, 5, 1000]), st.sampled_from([0, 5, 1000]))
    def test_merged(self, first: list[float], second: list[float], one: int, other: int) -> None:
        """Two merged say what one says that counted all, whichever of them is exact."""
        merged = samples(first, exact=one)
        merged.merge(samples(second, exact=other))
        whole = samples(first + second, exact=1000 if merged.exact else 0)
        self.assertEqual(merged.count, whole.count)
        for found, true in zip(merged.spread().quantiles, whole.spread().quantiles, strict=True):
            self.assertAlmostEqual(found, true)
