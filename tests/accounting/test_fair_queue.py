from __future__ import annotations

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from tests.frames import frames
from vespa.accounting.fair_queue import FairQueue


class Waiter:
    """One that does something, or nothing, when it gets its slot."""

    def __init__(self, act: Callable[[Waiter], None] | None = None) -> None:
        self.act = act
        self.slots = 0

    def slot(self) -> None:
        self.slots += 1
        if self.act is not None:
            self.act(self)


def a_queue(slots: int = 1) -> FairQueue[Waiter]:
    """A queue with so many slots, and room for all."""
    return FairQueue(None, slots, 1 << 20)


class FreeTests(SynchronousTestCase):
    def test_handed_on(self) -> None:
        """What comes free goes to the first that waits, which hears of it once."""
        queue = a_queue()
        first, second, third = Waiter(), Waiter(), Waiter()
        self.assertEqual([queue.admit(waiter, 0) for waiter in (first, second, third)], [True, False, False])
        queue.free(first)
        self.assertEqual((first.slots, second.slots, third.slots), (0, 1, 0))
        queue.free(second)
        queue.free(third)
        self.assertEqual((second.slots, third.slots, queue.working, queue.waiting), (1, 1, 0, 0))

    def test_leaves_the_queue(self) -> None:
        """Who waits and goes away makes room in the queue, and never hears."""
        queue = a_queue()
        first, second, third = Waiter(), Waiter(), Waiter()
        for waiter in (first, second, third):
            queue.admit(waiter, 0)
        queue.free(second)
        self.assertEqual((queue.working, queue.waiting), (1, 1))
        queue.free(first)
        self.assertEqual((second.slots, third.slots), (0, 1))

    def test_strangers(self) -> None:
        """One that is not inside gives nothing up, whether others wait or not, and a slot is given up once."""
        queue = a_queue()
        first, second, stranger = Waiter(), Waiter(), Waiter()
        queue.free(stranger)
        queue.admit(first, 0)
        queue.free(stranger)
        self.assertEqual(queue.working, 1)
        queue.admit(second, 0)
        queue.free(stranger)
        self.assertEqual((queue.working, queue.waiting, second.slots), (1, 1, 0))
        queue.free(first)
        queue.free(first)
        self.assertEqual((queue.working, queue.waiting, second.slots), (1, 0, 1))

    def test_all_fail(self) -> None:
        """However many fail on the spot: each had its turn, in order, and none within another's."""
        queue = a_queue()
        order: list[Waiter] = []
        depth = [0]

        def fail(waiter: Waiter) -> None:
            depth[0] += 1
            self.assertEqual(depth[0], 1)
            order.append(waiter)
            queue.free(waiter)
            depth[0] -= 1

        first = Waiter()
        waiters = [Waiter(fail) for _ in range(10_000)]
        for waiter in (first, *waiters):
            queue.admit(waiter, 0)
        queue.free(first)
        self.assertEqual(order, waiters)
        self.assertEqual((queue.working, queue.waiting), (0, 0))

    def test_given_back_unheard(self) -> None:
        """One that goes away after its slot was set aside, and before it heard, never hears: the next does."""
        queue = a_queue(slots=2)
        holders = [Waiter(), Waiter()]

        def end_all(waiter: Waiter) -> None:
            queue.free(holders[1])  # its slot is set aside for `second`
            queue.free(second)  # which goes away

        first, second, third = Waiter(end_all), Waiter(), Waiter()
        for each in (*holders, first, second, third):
            queue.admit(each, 0)
        queue.free(holders[0])
        self.assertEqual((first.slots, second.slots, third.slots), (1, 0, 1))
        self.assertEqual((queue.working, queue.waiting), (2, 0))

    def test_a_bug_of_one(self) -> None:
        """An exception in one's turn does not keep what comes free later from the others."""

        def break_down(waiter: Waiter) -> None:
            raise ZeroDivisionError

        queue = a_queue()
        first, second, third = Waiter(), Waiter(break_down), Waiter()
        for waiter in (first, second, third):
            queue.admit(waiter, 0)
        self.assertRaises(ZeroDivisionError, queue.free, first)
        queue.free(second)
        self.assertEqual(third.slots, 1)


class FlatTests(SynchronousTestCase):
    def test_one_call(self) -> None:
        """While nobody waits and the wait is within its limit, letting one in and out is a call each."""
        queue: FairQueue[Waiter] = FairQueue(10.0, 5, 5)
        queue.throughput = 1.0
        waiter = Waiter()
        self.assertEqual(len(frames(queue.admit, waiter, 9_000_000)), 1)
        self.assertEqual(len(frames(queue.free, waiter)), 1)
        queue.admit(waiter, 0)
        self.assertEqual(len(frames(queue.release, waiter)), 1)
        self.assertEqual(queue.working, 0)
