"""Tests of `vespa.runtime.deadlines`."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from vespa.runtime.deadlines import sleep, within


class WithinTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()

    def test_in_time(self) -> None:
        """Work that ends in time gives its result, and no timer is left."""
        work: Deferred[int] = Deferred()
        result = within(2.0, self.clock, work)
        self.assertNoResult(result)
        work.callback(7)
        self.assertEqual(self.successResultOf(result), 7)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_work_fails(self) -> None:
        """Work that fails in time fails with its own error."""

        async def work() -> None:
            raise KeyError("x")

        self.failureResultOf(within(2.0, self.clock, work()), KeyError)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_too_late(self) -> None:
        """Work that takes too long is cancelled, and the waiter gets the limit."""
        cancelled: list[object] = []
        work: Deferred[None] = Deferred(cancelled.append)
        result = within(2.0, self.clock, work)
        self.clock.advance(1.9)
        self.assertNoResult(result)
        self.clock.advance(0.1)
        self.failureResultOf(result, TimeoutError)
        self.assertEqual(len(cancelled), 1)

    def test_cancel_always_looks_the_same(self) -> None:
        """Whatever the work makes of its cancelling, the waiter sees CancelledError, once, at once."""

        def odd(d: Deferred[int]) -> None:
            d.errback(KeyError("mine"))

        async def stubborn() -> int:
            try:
                return await Deferred()
            except CancelledError:
                await sleep(5, self.clock)
                raise KeyError("late") from None

        def result(d: Deferred[int]) -> None:
            d.callback(3)

        works: tuple[Any, ...] = (Deferred(odd), Deferred(result), Deferred(), stubborn())
        for work in works:
            waiting = within(60.0, self.clock, work)
            waiting.cancel()
            self.failureResultOf(waiting, CancelledError)
        self.clock.advance(100)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_limit(self) -> None:
        """Without a limit there is no timer."""
        within(None, self.clock, Deferred())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_sleep_cancelled(self) -> None:
        """A sleep that is cancelled leaves no timer."""
        nap = sleep(5, self.clock)
        nap.cancel()
        self.failureResultOf(nap, CancelledError)
        self.assertEqual(self.clock.getDelayedCalls(), [])
