"""Which requests may search for a worker, and when, in memory."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.client.requests import post
from tests.client.rig import ClientRig, assignment, response


class TurnsTests(SynchronousTestCase):
    def test_many_that_wait_take_turns(self) -> None:
        """The autoscaler is not asked more often because more requests wait, beyond some."""
        rig = ClientRig(random=0.5)
        for _ in range(500):
            rig.caller().send(post())
            rig.tell({"status": "none", "request_idx": 9})
        for _ in range(60):
            rig.reactor.advance(0.5)
            while rig.asked_for():
                rig.tell({"status": "none", "request_idx": 9})
        asked = 0
        for _ in range(20):
            rig.reactor.advance(0.5)
            while rig.asked_for():
                rig.tell({"status": "none", "request_idx": 9})
                asked += 1
        self.assertLess(asked / 10.0, 60.0)

    def test_turns(self) -> None:
        """Over the limit of requests in flight, the next waits for its turn, within the deadline."""
        rig = ClientRig(max_connections=1, seconds=5.0)
        first, second = rig.caller(), rig.caller()
        first.send(post())
        second.send(post())
        rig.tell(assignment())
        self.assertEqual(rig.asked_for(), [])
        rig.worker().send(response(200, b"one"))
        rig.tell(assignment(idx=8))
        rig.worker().send(response(200, b"two"))
        self.assertTrue(second.read().endswith(b"two"))
        third, fourth = rig.caller(), rig.caller()
        third.send(post())
        rig.tell(assignment(idx=9))
        fourth.send(post())
        rig.advance(7)
        self.assertIn(b"too_many_requests", fourth.read())
