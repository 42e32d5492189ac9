"""One coarse clock for many, in slices."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.rig import turn
from vespa.http.coarse_timer import SLICE, CoarseTimer


class Member:
    def __init__(self) -> None:
        self.looks: list[float] = []

    def tick(self, now: float) -> None:
        self.looks.append(now)


class Slices(SynchronousTestCase):
    def test_slices(self) -> None:
        """However many there are, one turn looks at so many of them; all are looked at once a second."""
        clock = Clock()
        timer = CoarseTimer(clock)
        members = [Member() for _ in range(3 * SLICE + 1)]
        for member in members:
            timer.add(member)
        clock.rightNow += 1.0
        looked = []
        for _ in range(5):
            before = sum(len(member.looks) for member in members)
            turn(clock)
            looked.append(sum(len(member.looks) for member in members) - before)
        self.assertEqual(looked, [SLICE, SLICE, SLICE, 1, 0])
        clock.advance(0.9)
        self.assertEqual({len(member.looks) for member in members}, {1})
        clock.advance(0.1)
        self.assertEqual({len(member.looks) for member in members}, {2})

    def test_ends(self) -> None:
        """An entry removed during a round is skipped, and no timer is left after the last one."""
        clock = Clock()
        timer = CoarseTimer(clock)
        members = [Member() for _ in range(SLICE + 2)]
        for member in members:
            timer.add(member)
        clock.rightNow += 1.0
        turn(clock)
        for member in members:
            timer.discard(member)
        clock.advance(5.0)
        self.assertEqual([len(member.looks) for member in members[SLICE:]], [0, 0])
        self.assertEqual(clock.getDelayedCalls(), [])
        timer.add(members[0])
        clock.advance(1.0)
        self.assertEqual(len(members[0].looks), 2)
