from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vespa.runtime.backoff import Backoff


class BackoffTests(SynchronousTestCase):
    def test_grows_to_the_maximum(self) -> None:
        """Without jitter the waits grow by the factor and stay at the maximum."""
        backoff = Backoff(1, 2, 5, 0, lambda: 0.5)
        self.assertEqual([backoff.next() for _ in range(5)], [1, 2, 4, 5, 5])

    def test_reset(self) -> None:
        """After a success the waits start again at the minimum."""
        backoff = Backoff(1, 2, 60, 0, lambda: 0.5)
        backoff.next()
        backoff.next()
        backoff.reset()
        self.assertEqual(backoff.next(), 1)

    def test_base_above_the_maximum(self) -> None:
        """The maximum holds for the first wait too."""
        self.assertEqual(Backoff(10, 2, 5, 0, lambda: 0.0).next(), 5)

    @given(
        st.floats(min_value=0.01, max_value=10),
        st.floats(min_value=1, max_value=10),
        st.floats(min_value=0.01, max_value=100),
        st.floats(min_value=0, max_value=1),
        st.lists(st.floats(min_value=0, max_value=1, exclude_max=True), min_size=1, max_size=400),
    )
    def test_bounds(self, base: float, factor: float, maximum: float, jitter: float, draws: list[float]) -> None:
        """Whatever chance gives, a wait is never negative, never over the maximum, and jitter only shortens it."""
        numbers = iter(draws)
        jittered = Backoff(base, factor, maximum, jitter, lambda: next(numbers))
        plain = Backoff(base, factor, maximum, 0, lambda: 0.0)
        for _ in draws:
            wait, longest = jittered.next(), plain.next()
            self.assertTrue(longest * (1 - jitter) <= wait <= longest <= maximum)
