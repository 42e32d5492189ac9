"""Numbers and durations for people."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vespa.top.units import age, amount, duration, moment, number, plural, units_of_work


class UnitTests(SynchronousTestCase):
    def test_numbers(self) -> None:
        """Whole numbers are whole, thousands are grouped, small ones have three digits."""
        for value, expected in (
            (0, "0"),
            (3.0, "3"),
            (0.1234, "0.123"),
            (12.345, "12.3"),
            (812.4, "812"),
            (1234567, "1,234,567"),
            (math.inf, "∞"),
            (math.nan, "?"),
        ):
            self.assertEqual(number(value), expected)

    def test_durations(self) -> None:
        """Two units at most, and the right ones at each border."""
        for seconds, expected in (
            (0.0, "0 s"),
            (0.00052, "0.52 ms"),
            (0.32, "320 ms"),
            (0.9999, "1 s"),
            (4.21, "4.2 s"),
            (9.96, "10 s"),
            (59.4, "59 s"),
            (59.6, "1 min"),
            (90.0, "1 min 30 s"),
            (720.0, "12 min"),
            (725.0, "12 min"),
            (7980.0, "2 h 13 min"),
            (7200.0, "2 h"),
            (90000.0, "1 d 1 h"),
            (math.inf, "∞"),
        ):
            self.assertEqual(duration(seconds), expected, seconds)

    @given(st.floats(min_value=0.0, max_value=1e12))
    def test_any_duration(self, seconds: float) -> None:
        """Every duration has a text."""
        self.assertTrue(duration(seconds))

    def test_ages(self) -> None:
        """A time is told by its distance from now."""
        self.assertEqual(age(0.2), "just now")
        self.assertEqual(age(3.0), "3 s ago")
        self.assertEqual(moment(10.0, 70.0), "1 min ago")
        self.assertEqual(moment(130.0, 70.0), "in 1 min")

    def test_amounts(self) -> None:
        """A number with its word; one thing is singular."""
        self.assertEqual(amount(3.0, "idle"), "3 idle")
        self.assertEqual(amount(None, "idle"), "")
        self.assertEqual(plural(1.0, "tunnels"), "1 tunnel")
        self.assertEqual(plural(2.0, "tunnels"), "2 tunnels")
        self.assertEqual(plural(None, "tunnels"), "")

    def test_work(self) -> None:
        """One unit is singular."""
        self.assertEqual(units_of_work(1.0), "1 unit of work")
        self.assertEqual(units_of_work(3200.0), "3,200 units of work")
