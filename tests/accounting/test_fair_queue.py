from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.frames import frames
from vespa.accounting.fair_queue import FairQueue
from vespa.protocol.refusal import Refusal


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
        """A free slot goes to the first request that waits, which is notified once."""
        queue = a_queue()
        first, second, third = Waiter(), Waiter(), Waiter()
        self.assertEqual([queue.admit(waiter, 0) for waiter in (first, second, third)], [True, False, False])
        queue.free(first)
        self.assertEqual((first.slots, second.slots, third.slots), (0, 1, 0))
        queue.free(second)
        queue.free(third)
        self.assertEqual((second.slots, third.slots, queue.working, queue.waiting), (1, 1, 0, 0))

    def test_leaves_the_queue(self) -> None:
        """A request that leaves the queue frees its place, and is never notified."""
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
        """A request that leaves between getting its slot and the notification is not notified; the next one is."""
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


SECOND = 1_000_000


# More come than go, or a queue would seldom build up.
verbs = st.sampled_from(["admit", "admit", "admit", "release", "release", "leave"])


operations = st.lists(st.tuples(verbs, st.integers(0, 7)), min_size=20, max_size=80)


def a_gate(max_wait_seconds: float | None = None, max_concurrency: int = 0, max_queue: int = 100) -> FairQueue[Any]:
    """A gate before a backend that does a unit of work a second."""
    gate: FairQueue[Any] = FairQueue(max_wait_seconds, max_concurrency, max_queue)
    gate.throughput = 1.0
    return gate


class SlotTests(SynchronousTestCase):
    @given(operations, st.integers(0, 3), st.integers(0, 3))
    def test_any_order_of_events(self, steps: list[tuple[str, int]], slots: int, places: int) -> None:
        """
        Whatever comes when: no more work than there are slots, nobody waits while one is free, the queue is strictly
        first come first served, and a slot is freed exactly once.
        """
        gate = a_gate(max_concurrency=slots, max_queue=places)
        working: set[int] = set()
        queue: list[int] = []
        for what, key in steps:
            if what == "admit":
                if key in working or key in queue:
                    self.assertRaises(ValueError, gate.admit, key, 0)
                elif not slots or len(working) < slots:
                    self.assertIs(gate.admit(key, 0), True)
                    working.add(key)
                elif len(queue) < places:
                    self.assertIs(gate.admit(key, 0), False)
                    queue.append(key)
                else:
                    self.assertEqual(self.assertRaises(Refusal, gate.admit, key, 0).code, "queue_full")
            elif what == "release":
                expected = queue.pop(0) if key in working and queue else None
                self.assertEqual(gate.release(key), expected)
                working.discard(key)
                if expected is not None:
                    working.add(expected)
            else:
                self.assertEqual(gate.leave(key), key in queue)
                queue = [other for other in queue if other != key]
            self.assertEqual((gate.working, gate.waiting), (len(working), len(queue)))
            self.assertTrue(not queue or len(working) == slots)

    def test_first_come_first_served(self) -> None:
        """Slots go to waiting requests in the order of their arrival; those that left are skipped."""
        gate = a_gate(max_concurrency=1)
        self.assertEqual([gate.admit(key, 0) for key in "abcd"], [True, False, False, False])
        self.assertTrue(gate.leave("c"))
        self.assertEqual([gate.release(key) for key in "abd"], ["b", "d", None])
        self.assertEqual([gate.release(key) for key in "abcd"], [None] * 4)

    def test_no_places(self) -> None:
        """Without places in the queue, a request that gets no slot gets Retry-After: 1."""
        gate = a_gate(max_concurrency=1, max_queue=0)
        self.assertTrue(gate.admit("a", 0))
        refusal = self.assertRaises(Refusal, gate.admit, "b", 0)
        self.assertEqual((refusal.status, refusal.code, refusal.retry_after), (429, "queue_full", 1.0))
        self.assertEqual((gate.working, gate.waiting), (1, 0))


class WaitTests(SynchronousTestCase):
    def test_strictly_over_the_limit(self) -> None:
        """A wait that equals the limit is allowed; a millionth more is not."""
        gate = a_gate(max_wait_seconds=10.0)
        self.assertTrue(gate.admit("a", 10 * SECOND))
        refusal = self.assertRaises(Refusal, gate.admit, "b", 10 * SECOND + 1)
        self.assertEqual((refusal.status, refusal.code, refusal.retry_after), (429, "busy", 1.0))
        self.assertEqual(gate.working, 1)

    def test_own_work_is_not_counted(self) -> None:
        """With nothing in flight any request may go, however slow the backend is."""
        gate: FairQueue[Any] = FairQueue(0.0, 0, 0)
        self.assertTrue(gate.admit("a", 0))
        self.assertRaises(Refusal, gate.admit, "b", 1)

    def test_throughput(self) -> None:
        """The wait is the work in flight over the throughput."""
        gate = a_gate(max_wait_seconds=10.0)
        gate.throughput = 100.0
        self.assertTrue(gate.admit("a", 1000 * SECOND))
        self.assertEqual(self.assertRaises(Refusal, gate.admit, "b", 1500 * SECOND).retry_after, 5.0)

    def test_told(self) -> None:
        """Its refusals tell the estimated wait, except before the backend is measured."""
        gate = a_gate(max_wait_seconds=10.0, max_concurrency=1, max_queue=0)
        gate.throughput = 100.0
        self.assertEqual(self.assertRaises(Refusal, gate.admit, "a", 1500 * SECOND).estimated_wait, 15.0)
        self.assertTrue(gate.admit("a", 0))
        self.assertEqual(self.assertRaises(Refusal, gate.admit, "b", 250 * SECOND).estimated_wait, 2.5)
        gate.throughput = 0.0
        self.assertIsNone(self.assertRaises(Refusal, gate.admit, "b", 0).estimated_wait)

    def test_limits(self) -> None:
        """The limits can be read, to be shown beside what they limit."""
        gate: FairQueue[Any] = FairQueue(10.0, 4, 100)
        self.assertEqual((gate.max_wait_seconds, gate.max_concurrency, gate.max_queue), (10.0, 4, 100))

    def test_no_limit(self) -> None:
        """Without a limit no wait is too long."""
        self.assertTrue(a_gate().admit("a", 10**15))

    @given(st.integers(0, 10**15), st.floats(0, 1e6), st.floats(0, 1e6))
    def test_when_to_come_back(self, load: int, limit: float, throughput: float) -> None:
        """A refusal's Retry-After is the time until the wait is within the limit, at least 1 s."""
        gate: FairQueue[Any] = FairQueue(limit, 0, 0)
        gate.throughput = throughput
        try:
            gate.admit("a", load)
        except Refusal as refusal:
            assert refusal.retry_after is not None
            self.assertGreaterEqual(refusal.retry_after, 1.0)
            self.assertGreaterEqual(refusal.retry_after, gate.estimated_wait(load) - limit)
        else:
            self.assertLessEqual(gate.estimated_wait(load), limit)
