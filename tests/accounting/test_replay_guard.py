from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.vast.envelopes import an_auth
from vespa.accounting.replay_guard import ReplayGuard


class ReplayTests(SynchronousTestCase):
    @given(st.lists(st.integers(min_value=0, max_value=8), max_size=60), st.integers(min_value=0, max_value=5))
    def test_the_last_ones(self, order: list[int], capacity: int) -> None:
        """Exactly the last `capacity` different requests are known; a repetition does not make one younger."""
        replay = ReplayGuard(capacity, "reject")
        known: list[int] = []
        for number in order:
            self.assertEqual(replay.seen(an_auth(reqnum=number)), number in known)
            if number not in known:
                known = [*known, number][-capacity:] if capacity else []

    def test_what_makes_a_request(self) -> None:
        """A request is its request_idx, its reqnum and its signature."""
        replay = ReplayGuard(10, "warn")
        self.assertFalse(replay.seen(an_auth()))
        for change in ({"reqnum": 8}, {"request_idx": 8}, {"signature": "b3RoZXI="}):
            self.assertFalse(replay.seen(an_auth(**change)))
        self.assertTrue(replay.seen(an_auth()))
        self.assertEqual(replay.mode, "warn")

    def test_off(self) -> None:
        """When off, nothing came before."""
        replay = ReplayGuard(10, "off")
        self.assertEqual([replay.seen(an_auth()) for _ in range(3)], [False] * 3)
