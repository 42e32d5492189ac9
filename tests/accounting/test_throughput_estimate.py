from __future__ import annotations

import math
import random
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vespa.accounting.throughput_estimate import (
    ENDED_MAX,
    HALF_LIFE_SECONDS,
    HIGHEST,
    LONGEST_STEP,
    LOWEST,
    Load,
    ThroughputEstimate,
)

FIGURE = 100.0
"""What the benchmark measured, in units a second."""


class Backend:
    """A backend that does `throughput` units a second in all, equally for all requests that it has, in steps."""

    STEP = 0.1

    def __init__(self, estimate: ThroughputEstimate, throughput: float) -> None:
        self.estimate = estimate
        self.throughput = throughput
        self.now = 1000.0
        self.running: list[tuple[float, float, float]] = []  # start, work, what is left of it
        self._steps = 0

    def step(self, load: Load, figure: float = FIGURE) -> None:
        if self._steps % round(1 / self.STEP) == 0:
            self.estimate.sample(self.now, len(self.running), load, figure)
        self._steps += 1
        self.now += self.STEP
        each = self.throughput * self.STEP / max(1, len(self.running))
        left = [(start, work, rest - each) for start, work, rest in self.running]
        for start, work, rest in left:
            if rest <= 0:
                self.estimate.ended(start, self.now, work)
        self.running = [request for request in left if request[2] > 0]

    def run(
        self,
        seconds: float,
        at_once: int,
        cost: Callable[[], float],
        load: Load = Load.BUSY,
        figure: float = FIGURE,
    ) -> None:
        """A closed loop of `at_once` requests."""
        for _ in range(round(seconds / self.STEP)):
            while len(self.running) < at_once:
                work = cost()
                self.running.append((self.now, work, work))
            self.step(load, figure)


class ThroughputEstimateTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.estimate = ThroughputEstimate()
        self.random = random.Random(3)

    def cost(self) -> float:
        return self.random.uniform(20.0, 400.0)

    def test_begins_with_the_benchmark(self) -> None:
        """Before anything is measured the factor is 1, and not called measured."""
        self.assertEqual((self.estimate.factor, self.estimate.measured), (1.0, False))

    def test_finds_the_true_throughput(self) -> None:
        """Under load the factor comes to the true throughput, whatever the number of requests at once."""
        for throughput in (70.0, 100.0, 160.0):
            for at_once in (1, 8, 40):
                with self.subTest(throughput, at_once=at_once):
                    estimate = ThroughputEstimate()
                    Backend(estimate, throughput).run(8 * HALF_LIFE_SECONDS, at_once, self.cost)
                    self.assertTrue(estimate.measured)
                    self.assertApproximates(estimate.factor, throughput / FIGURE, 0.04 * throughput / FIGURE)

    def test_half_life(self) -> None:
        """After one half-life under load, half of the difference is left."""
        Backend(self.estimate, 150.0).run(HALF_LIFE_SECONDS, 8, lambda: 30.0)
        self.assertApproximates(self.estimate.factor, 1.25, 0.03)

    def test_light_load(self) -> None:
        """A backend that has little to do is slower than it could be, and this changes nothing."""
        Backend(self.estimate, 10.0).run(1000.0, 1, self.cost, Load.LIGHT)
        self.assertEqual((self.estimate.factor, self.estimate.measured), (1.0, False))

    def test_between_samples(self) -> None:
        """The time between two samples counts as the less loaded of the two: a busy moment is no busy time."""
        backend = Backend(self.estimate, 10.0)
        for second in range(1000):
            backend.run(1.0, 8, lambda: 5.0, Load.BUSY if second % 2 else Load.LIGHT)
        self.assertEqual((self.estimate.factor, self.estimate.measured), (1.0, False))

    def test_limited(self) -> None:
        """What passes the wait limit may raise the estimate, but not lower it."""
        Backend(self.estimate, 60.0).run(1000.0, 3, self.cost, Load.LIMITED)
        self.assertEqual((self.estimate.factor, self.estimate.measured), (1.0, False))
        Backend(self.estimate, 180.0).run(3000.0, 3, self.cost, Load.LIMITED)
        self.assertApproximates(self.estimate.factor, 1.8, 0.1)

    def test_bounds(self) -> None:
        """The factor stays within its bounds, and leaves them as soon as what is measured does."""
        backend = Backend(self.estimate, 1000.0)
        backend.run(3000.0, 8, self.cost)
        self.assertApproximates(self.estimate.factor, HIGHEST, 0.01)
        backend.throughput = FIGURE
        backend.run(HALF_LIFE_SECONDS, 8, self.cost)
        self.assertApproximates(self.estimate.factor, (HIGHEST + 1) / 2, 0.06)
        Backend(self.estimate, 1.0).run(9000.0, 8, lambda: 5.0)
        self.assertApproximates(self.estimate.factor, LOWEST, 0.01)

    def test_one_lie(self) -> None:
        """A request that claims a thousand million units moves the estimate no more than a window at the bound."""
        backend = Backend(self.estimate, FIGURE)
        backend.run(600.0, 8, self.cost)
        before = self.estimate.factor
        self.estimate.ended(backend.now - 5.0, backend.now, 1e9)
        backend.run(60.0, 8, self.cost)
        self.assertLess(self.estimate.factor - before, 0.06)

    def test_unmeasured_requests(self) -> None:
        """Requests that failed, or whose work nobody knows, are left out, and do not bias the rest."""
        backend = Backend(self.estimate, 150.0)
        told = self.estimate.ended
        estimate = self.estimate

        class Some(ThroughputEstimate):
            """Hears of every third request."""

            count = 0

            def sample(self, *args: object) -> None:
                estimate.sample(*args)  # type: ignore[arg-type]

            def ended(self, started_at: float, ended_at: float, work: float) -> None:
                self.count += 1
                if self.count % 3 == 0:
                    told(started_at, ended_at, work)

        backend.estimate = Some()
        backend.run(8 * 3 * HALF_LIFE_SECONDS, 8, lambda: 200.0)
        self.assertApproximates(estimate.factor, 1.5, 0.06)

    def test_begin_of_a_busy_time(self) -> None:
        """Long requests of which none has ended yet do not look like a slow backend."""
        backend = Backend(self.estimate, FIGURE)
        for _ in range(20):
            backend.run(60.0, 32, lambda: 150.0)
            while backend.running:
                backend.step(Load.LIGHT)
            self.assertApproximates(self.estimate.factor, 1.0, 0.03)

    def test_changing_figure(self) -> None:
        """The estimate is a factor: if one of two backends leaves, it stays, because it is of each of them."""
        backend = Backend(self.estimate, 150.0)
        backend.run(5 * HALF_LIFE_SECONDS, 8, self.cost)
        before = self.estimate.factor
        backend.throughput = 75.0
        backend.run(HALF_LIFE_SECONDS, 8, self.cost, figure=FIGURE / 2)
        self.assertApproximates(self.estimate.factor, before, 0.05)
        self.assertApproximates(before, 1.5, 0.06)

    def test_pause_of_the_process(self) -> None:
        """Time in which nobody looked at the backend counts for nothing."""
        backend = Backend(self.estimate, FIGURE)
        backend.run(100.0, 8, lambda: 50.0)
        before = self.estimate.factor
        self.estimate.sample(backend.now + 3600.0, 8, Load.BUSY, FIGURE)
        self.estimate.ended(backend.now, backend.now + 3600.0, 1.0)
        self.estimate.sample(backend.now + 3601.0, 8, Load.BUSY, FIGURE)
        self.assertEqual(self.estimate.factor, before)
        self.assertGreater(3600.0, LONGEST_STEP)

    def test_clock_set_back(self) -> None:
        """After the clock was set back, the estimate goes on."""
        backend = Backend(self.estimate, 150.0)
        backend.run(300.0, 8, lambda: 50.0)
        backend.now -= 5000.0
        backend.running.clear()
        backend.run(8 * HALF_LIFE_SECONDS, 8, lambda: 50.0)
        self.assertApproximates(self.estimate.factor, 1.5, 0.05)

    def test_many_requests(self) -> None:
        """Between two samples a bounded number of requests is kept."""
        self.estimate.sample(1.0, 8, Load.BUSY, FIGURE)
        for _ in range(ENDED_MAX + 10):
            self.estimate.ended(0.5, 1.0, 1.0)
        self.assertEqual(self.estimate.pending, ENDED_MAX)
        self.estimate.sample(2.0, 8, Load.BUSY, FIGURE)
        self.assertEqual(self.estimate.pending, 0)

    numbers = st.floats(-10, 5000) | st.sampled_from([0.0, math.inf, -math.inf, math.nan, 1e300, 1e-300])

    @given(
        st.lists(
            st.tuples(st.just("sample"), numbers, st.integers(0, 9), st.sampled_from(Load), st.floats(0, 1e9))
            | st.tuples(st.just("ended"), numbers, numbers, numbers, st.just(0.0)),
            max_size=60,
        )
    )
    def test_any_events(self, script: list[tuple[str, float, float, float, float]]) -> None:
        """Whatever is told, the factor stays a number within its bounds."""
        for what, first, second, third, fourth in script:
            if what == "sample":
                self.estimate.sample(first, int(second), Load(int(third)), fourth)
            else:
                self.estimate.ended(first, second, third)
            self.assertTrue(LOWEST <= self.estimate.factor <= HIGHEST)
