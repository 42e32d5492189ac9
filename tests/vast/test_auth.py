from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vespa.vast.auth import UNSIGNED, cost_from, integer_from, invalid_envelope, parse_cost
from vespa.vast.query_envelope import unsigned_query

NO_NUMBERS = [
    "", " ", "NaN", "nan", "Infinity", "inf", "-Infinity", "true", "null", "1_0", "٣", "1٣", "0x10", "01", "00", "1.",
    ".5", "+1", " 1", "1 ", "1\n", "1e", "1e+", "--1", "1,5", '"1"', "1" * 65, "\ud800", "\x00",
]  # fmt: skip


class CostTests(SynchronousTestCase):
    @given(st.floats(min_value=0, max_value=1e9) | st.integers(min_value=0, max_value=10**9))
    def test_json_numbers(self, number: float) -> None:
        """Every JSON number from zero to the cap is read as JSON reads it."""
        self.assertEqual(parse_cost(json.dumps(number), 1e9), number)

    def test_notations(self) -> None:
        """A number may have a fraction and an exponent."""
        for text, cost in [("0", 0), ("-0", 0), ("0.50", 0.5), ("1E2", 100), ("2e-1", 0.2), ("1.5e+3", 1500)]:
            self.assertEqual(parse_cost(text, 1e9), cost)

    def test_no_numbers(self) -> None:
        """A text that Python reads as a number, but JSON does not, is refused."""
        for text in NO_NUMBERS:
            with self.assertRaises(ValueError) as caught:
                parse_cost(text, 1e9)
            self.assertEqual(str(caught.exception), "must be a number")

    def test_bounds(self) -> None:
        """A cost is not negative and not above the cap; the cap itself is allowed."""
        self.assertEqual(parse_cost("10", 10.0), 10.0)
        for text, what in [("-1", "must not be negative"), ("10.001", "must be at most 10"), ("1e999", "must be at")]:
            with self.assertRaises(ValueError) as caught:
                parse_cost(text, 10.0)
            self.assertIn(what, str(caught.exception))

    @given(st.binary(max_size=12))
    def test_any_bytes(self, text: bytes) -> None:
        """Any bytes are a cost within bounds or a ValueError, nothing else."""
        try:
            cost = cost_from(text, 50.0)
        except ValueError:
            return
        self.assertTrue(0 <= cost <= 50)
        self.assertEqual(cost, json.loads(text))


class IntegerTests(SynchronousTestCase):
    @given(st.integers(min_value=-(2**63), max_value=2**63 - 1))
    def test_64_bits(self, number: int) -> None:
        """Whole numbers of 64 bits are read."""
        self.assertEqual(integer_from(b"%d" % number), number)

    def test_others(self) -> None:
        """Nothing else is: no fraction, no exponent, nothing longer."""
        for text in [*NO_NUMBERS, "1.0", "1e2", str(2**63), str(-(2**63) - 1), "9" * 5000]:
            with self.assertRaises(ValueError):
                integer_from(text.encode("utf-8", "replace"))


class RefusalTests(SynchronousTestCase):
    def test_unsigned(self) -> None:
        """A request without any part of an assignment is told how to get one; a malformed assignment is not."""
        self.assertTrue(unsigned_query().message.endswith(UNSIGNED))
        without = invalid_envelope("body", {"auth_data": "is missing", "payload": "is missing"})
        self.assertTrue(without.message.endswith(UNSIGNED))
        for wrong in (
            {"payload": "is missing"},
            {"serverless_url": "is missing"},
            {"auth_data.cost": "must be a number"},
        ):
            self.assertNotIn(UNSIGNED, invalid_envelope("body", wrong).message)
