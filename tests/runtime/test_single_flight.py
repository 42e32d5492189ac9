"""Laws of work that is shared."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from vespa.runtime.single_flight import SingleFlight


class SharedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.works: list[Deferred[int]] = []
        self.cancelled: list[Deferred[int]] = []
        self.shared = SingleFlight(self.work)

    async def work(self) -> int:
        self.works.append(Deferred(self.cancelled.append))
        return await self.works[-1]

    def test_one_work(self) -> None:
        """All callers during one run get its outcome, success or failure; a later call starts a new run."""
        for outcome in 7, ZeroDivisionError():
            waiting = [self.shared.join() for _ in range(3)]
            work = self.works.pop()
            self.assertEqual(self.works, [])
            if isinstance(outcome, Exception):
                work.errback(outcome)
                for each in waiting:
                    self.failureResultOf(each, ZeroDivisionError)
            else:
                work.callback(outcome)
                self.assertEqual([self.successResultOf(each) for each in waiting], [7, 7, 7])

    def test_at_once(self) -> None:
        """Work that has nothing to wait for is over at once."""

        async def work() -> int:
            return 1

        shared = SingleFlight(work)
        self.assertEqual([self.successResultOf(shared.join()) for _ in range(2)], [1, 1])

    def test_leaving(self) -> None:
        """Cancelling affects one caller only. If all have cancelled, the work is cancelled without an outcome."""
        first, second = self.shared.join(), self.shared.join()
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.assertNoResult(second)
        self.assertEqual(self.cancelled, [])
        second.cancel()
        self.failureResultOf(second, CancelledError)
        self.assertEqual(self.cancelled, self.works)

    def test_work_that_lingers(self) -> None:
        """Work that goes on though it was cancelled is not taken for the work that was begun since."""

        async def work() -> int:
            stubborn: Deferred[int] = Deferred(lambda _: None)
            stubborn.addErrback(lambda _: stays)
            self.works.append(stubborn)
            return await stubborn

        stays: Deferred[int] = Deferred()
        shared = SingleFlight(work)
        left = shared.join()
        left.cancel()
        self.failureResultOf(left, CancelledError)
        again = shared.join()
        stays.callback(1)
        self.assertNoResult(again)
        self.works[1].callback(2)
        self.assertEqual(self.successResultOf(again), 2)

    def test_asked_in_the_end(self) -> None:
        """A caller that calls again in its callback starts new work."""
        again: list[Deferred[int]] = []
        self.shared.join().addCallback(lambda _: again.append(self.shared.join()))
        self.works[0].callback(1)
        self.assertNoResult(again[0])
        self.works[1].callback(2)
        self.assertEqual(self.successResultOf(again[0]), 2)
