"""Moments and dots in bounded memory."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vespa.loadtest.timeline import Dot, Dots, Timeline


class TimelineTests(SynchronousTestCase):
    def test_folds(self) -> None:
        """A run that gets long has wider moments instead of more, and forgets nothing."""
        timeline = Timeline(most=4)
        for second in range(16):
            timeline.at(second + 0.5).sent += 1
        self.assertEqual((timeline.width, [moment.sent for moment in timeline.moments]), (4, [4, 4, 4, 4]))
        timeline.at(16).sent += 1
        self.assertEqual((timeline.width, [moment.sent for moment in timeline.moments]), (8, [8, 8, 1]))

    def test_before_the_beginning(self) -> None:
        """A clock's last digit below zero is the first moment."""
        timeline = Timeline()
        timeline.at(-1e-9).sent += 1
        self.assertEqual(timeline.moments[0].sent, 1)

    @given(st.integers(0, 200))
    def test_dots(self, count: int) -> None:
        """Dots are bounded, spread evenly, and the first is always there."""
        dots = Dots(10)
        for number in range(count):
            dots.add(Dot(number, 1.0, None, True))
        kept = [dot.due for dot in dots.kept]
        self.assertLessEqual(len(kept), 10)
        self.assertGreaterEqual(len(kept), min(count, 5))
        self.assertEqual(kept[:1], [0.0] if count else [])
        self.assertLessEqual(len({later - earlier for earlier, later in zip(kept, kept[1:], strict=False)}), 1)
