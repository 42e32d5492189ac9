"""When requests are due."""

from __future__ import annotations

from itertools import islice
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vespa.loadtest.plan import Plan, arrivals


class ArrivalTests(SynchronousTestCase):
    def test_steady(self) -> None:
        """One request every 1/rps, the first at once."""
        self.assertEqual(list(arrivals(Plan(requests=4, rps=4), Random(0))), [0, 0.25, 0.5, 0.75])

    def test_no_drift(self) -> None:
        """However many there were, the next is due where its number says."""
        due = list(arrivals(Plan(requests=100_001, rps=7), Random(0)))
        self.assertEqual(due[-1], 100_000 / 7)

    def test_duration(self) -> None:
        """None is due at the end of the duration or after it; without a number of requests it alone ends them."""
        self.assertEqual(list(arrivals(Plan(requests=0, rps=2, duration=2), Random(0))), [0, 0.5, 1, 1.5])
        self.assertEqual(list(arrivals(Plan(requests=2, rps=2, duration=2), Random(0))), [0, 0.5])

    def test_poisson(self) -> None:
        """Random arrivals come at the rate asked for, and the gaps between them vary as much as they are long."""
        due = list(arrivals(Plan(requests=20_000, rps=10, poisson=True), Random(1)))
        gaps = [later - earlier for earlier, later in zip(due, due[1:], strict=False)]
        mean = sum(gaps) / len(gaps)
        deviation = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
        self.assertApproximates(mean, 0.1, 0.003)
        self.assertApproximates(deviation, 0.1, 0.003)

    def test_seed(self) -> None:
        """The same seed gives the same arrivals."""
        plan = Plan(requests=50, rps=10, poisson=True)
        self.assertEqual(list(arrivals(plan, Random(5))), list(arrivals(plan, Random(5))))
        self.assertNotEqual(list(arrivals(plan, Random(5))), list(arrivals(plan, Random(6))))

    @given(st.floats(0.01, 1000), st.booleans(), st.integers(0, 1000))
    def test_in_order(self, rps: float, poisson: bool, seed: int) -> None:
        """Arrivals never go back."""
        due = list(islice(arrivals(Plan(requests=0, rps=rps, poisson=poisson), Random(seed)), 100))
        self.assertEqual(due, sorted(due))

    def test_warm_up(self) -> None:
        """The warm-up is a closed loop of as many as there are, no more at a time than the test itself has."""
        warm = Plan(rps=50, warmup=3, concurrency=2, timeout=7).warm
        self.assertEqual((warm.open_loop, warm.requests, warm.concurrency, warm.timeout), (False, 3, 2, 7))
        self.assertEqual(Plan(rps=50, warmup=3).warm.concurrency, 1)
