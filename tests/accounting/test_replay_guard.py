from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.vast.envelopes import an_auth
from vespa.accounting.replay_guard import ReplayGuard


def seen(replay: ReplayGuard, **change: object) -> bool:
    auth = an_auth(**change)
    return replay.seen(auth.request_idx, auth.reqnum, auth.signature)


class ReplayTests(SynchronousTestCase):
    @given(st.lists(st.integers(min_value=0, max_value=8), max_size=60), st.integers(min_value=0, max_value=5))
    def test_the_last_ones(self, order: list[int], capacity: int) -> None:
        """Exactly the last `capacity` different requests are known; a repetition does not make one younger."""
        replay = ReplayGuard(capacity, "reject")
        known: list[int] = []
        for number in order:
            self.assertEqual(seen(replay, reqnum=number), number in known)
            if number not in known:
                known = [*known, number][-capacity:] if capacity else []

    def test_what_makes_a_request(self) -> None:
        """A request is its request_idx, its reqnum and its signature."""
        replay = ReplayGuard(10, "warn")
        self.assertFalse(seen(replay))
        for change in ({"reqnum": 8}, {"request_idx": 8}, {"signature": "b3RoZXI="}):
            self.assertFalse(seen(replay, **change))
        self.assertTrue(seen(replay))
        self.assertEqual(replay.mode, "warn")

    def test_off(self) -> None:
        """When off, nothing came before."""
        replay = ReplayGuard(10, "off")
        self.assertEqual([seen(replay) for _ in range(3)], [False] * 3)
