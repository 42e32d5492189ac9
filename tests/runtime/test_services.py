"""Tests of `vespa.runtime.services`."""

from __future__ import annotations

from twisted.application import service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from vespa.runtime.deadlines import sleep
from vespa.runtime.services import CoroutineService, InOrder, SurvivingLoop


class Recorder(service.Service):
    """Writes down what happens to it; `held` keeps its stop waiting."""

    def __init__(self, label: str, events: list[str], held: Deferred[None] | None = None) -> None:
        self.label = label
        self.events = events
        self.held = held
        self.broken: set[str] = set()

    def _note(self, what: str) -> None:
        self.events.append(f"{what} {self.label}")
        if what in self.broken:
            raise KeyError(self.label)

    def privilegedStartService(self) -> None:
        self._note("privileged")

    def startService(self) -> None:
        super().startService()
        self._note("start")

    def stopService(self) -> Deferred[None] | None:
        super().stopService()
        self._note("stop")
        return self.held


class InOrderTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.events: list[str] = []
        self.tree = InOrder()
        self.children = [Recorder(label, self.events) for label in "abc"]
        for child in self.children:
            child.setServiceParent(self.tree)

    def test_interfaces(self) -> None:
        """It can stand wherever Twisted wants a service or a parent of services."""
        verifyObject(service.IService, self.tree)
        verifyObject(service.IServiceCollection, self.tree)

    def test_downward_and_upward(self) -> None:
        """Children start first to last and stop last to first."""
        self.tree.privilegedStartService()
        self.tree.startService()
        self.successResultOf(self.tree.stopService())
        self.assertEqual(
            self.events,
            ["privileged a", "privileged b", "privileged c", "start a", "start b", "start c"]
            + ["stop c", "stop b", "stop a"],
        )

    def test_each_awaited(self) -> None:
        """A child is not stopped before the one below it has stopped."""
        held: Deferred[None] = Deferred()
        self.children[1].held = held
        self.tree.startService()
        self.events.clear()
        stopped = self.tree.stopService()
        again = self.tree.stopService()
        self.assertEqual(self.events, ["stop c", "stop b"])
        self.assertNoResult(stopped)
        held.callback(None)
        self.assertEqual(self.events, ["stop c", "stop b", "stop a"])
        self.successResultOf(stopped)
        self.successResultOf(again)

    def test_error_in_stop(self) -> None:
        """A child that cannot stop is logged, once, and the others still stop."""
        self.children[2].broken.add("stop")
        self.children[1].held = Deferred()
        self.children[1].held.errback(ValueError("late"))
        self.tree.startService()
        self.successResultOf(self.tree.stopService())
        self.assertEqual(self.events[-3:], ["stop c", "stop b", "stop a"])
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_error_in_start(self) -> None:
        """When a child cannot start, those started before it stop, upward, and the error goes to the caller."""
        for method, what in (("startService", "start"), ("privilegedStartService", "privileged")):
            with self.subTest(method):
                self.events.clear()
                self.children[2].broken = {what}
                self.assertRaises(KeyError, getattr(self.tree, method))
                self.assertEqual(self.events, [f"{what} a", f"{what} b", f"{what} c", "stop b", "stop a"])
                self.assertFalse(self.tree.running)
                self.successResultOf(self.tree.stopService())
                self.assertEqual(self.events[5:], [])

    def test_stop_waits_for_a_failed_start(self) -> None:
        """A stop after a start that failed waits until those that had started have stopped."""
        held: Deferred[None] = Deferred()
        self.children[0].held = held
        self.children[1].broken.add("start")
        self.assertRaises(KeyError, self.tree.startService)
        stopped = self.tree.stopService()
        self.assertNoResult(stopped)
        held.callback(None)
        self.successResultOf(stopped)

    def test_cancel_of_the_waiter(self) -> None:
        """Cancelling a wait for the stop does not cancel the stop."""
        held: Deferred[None] = Deferred()
        self.children[2].held = held
        self.tree.startService()
        stopped = self.tree.stopService()
        stopped.cancel()
        self.failureResultOf(stopped, CancelledError)
        held.callback(None)
        self.assertEqual(self.events[-1], "stop a")


class Worker(CoroutineService):
    def __init__(self, waiting: Deferred[None]) -> None:
        self.waiting = waiting

    async def run(self) -> None:
        await self.waiting


class CoroutineServiceTests(SynchronousTestCase):
    def test_stop_cancels(self) -> None:
        """A stop cancels what the coroutine waits for, and logs nothing."""
        cancelled: list[object] = []
        worker = Worker(Deferred(cancelled.append))
        worker.startService()
        self.successResultOf(worker.stopService())
        self.assertEqual(len(cancelled), 1)
        self.successResultOf(worker.stopService())

    def test_bug_is_logged(self) -> None:
        """A coroutine that fails by itself is logged."""
        worker = Worker(Deferred())
        worker.startService()
        worker.waiting.errback(KeyError("bug"))
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        self.successResultOf(worker.stopService())


class SurvivingLoopTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.calls: list[float] = []

    def test_interval(self) -> None:
        """It calls at start and then at each interval, until it is stopped."""
        loop = SurvivingLoop(self.clock, 2.0, lambda: self.calls.append(self.clock.seconds()))
        loop.startService()
        self.clock.pump([1.0] * 5)
        self.successResultOf(loop.stopService())
        self.clock.pump([1.0] * 5)
        self.assertEqual(self.calls, [0.0, 2.0, 4.0])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_not_now(self) -> None:
        """With `now` false the first call comes after one interval."""
        loop = SurvivingLoop(self.clock, 2.0, lambda: self.calls.append(self.clock.seconds()), now=False)
        loop.startService()
        self.clock.pump([1.0] * 3)
        self.assertEqual(self.calls, [2.0])

    def test_survives(self) -> None:
        """After an error the calls go on, whether it was raised at once or awaited."""

        async def bad() -> None:
            self.calls.append(self.clock.seconds())
            raise KeyError(self.clock.seconds())

        def worse() -> None:
            self.calls.append(self.clock.seconds())
            raise KeyError(self.clock.seconds())

        for call in (bad, worse):
            self.calls.clear()
            loop = SurvivingLoop(self.clock, 1.0, call)
            loop.startService()
            self.clock.pump([1.0] * 3)
            self.assertEqual(len(self.calls), 4)
            self.assertEqual(len(self.flushLoggedErrors(KeyError)), 4)
            self.successResultOf(loop.stopService())

    def test_same_error(self) -> None:
        """An error that comes turn after turn is logged once; after a turn that went well it is news again."""

        def call() -> None:
            self.calls.append(self.clock.seconds())
            if len(self.calls) != 4:
                raise KeyError("the same")

        SurvivingLoop(self.clock, 1.0, call, what="the look").startService()
        self.clock.pump([1.0] * 2)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        self.clock.pump([1.0] * 3)
        self.assertEqual(len(self.calls), 6)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_no_overlap(self) -> None:
        """While a call is awaited there is no other; the turns missed are left out."""
        waiting: list[Deferred[None]] = []

        def call() -> Deferred[None]:
            waiting.append(Deferred())
            return waiting[-1]

        loop = SurvivingLoop(self.clock, 1.0, call)
        loop.startService()
        self.clock.pump([1.0] * 5)
        self.assertEqual(len(waiting), 1)
        waiting[0].callback(None)
        self.clock.pump([0.5] * 4)
        self.assertEqual(len(waiting), 2)

    def test_stop_awaits_the_call(self) -> None:
        """A stop waits for the call that is running."""
        waiting: Deferred[None] = Deferred()
        loop = SurvivingLoop(self.clock, 1.0, lambda: waiting, stop_seconds=3.0)
        loop.startService()
        stopped = loop.stopService()
        self.clock.advance(2.9)
        self.assertNoResult(stopped)
        waiting.callback(None)
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop_is_bounded(self) -> None:
        """A stop cancels a call that takes too long, and waits no more even if the call does not end then."""

        async def stubborn() -> None:
            try:
                await Deferred()
            except CancelledError:
                self.calls.append(self.clock.seconds())
                await sleep(50, self.clock)

        loop = SurvivingLoop(self.clock, 1.0, stubborn, stop_seconds=3.0)
        loop.startService()
        stopped = loop.stopService()
        self.clock.advance(3.0)
        self.successResultOf(stopped)
        self.assertEqual(self.calls, [3.0])
        self.clock.advance(100)
        self.assertEqual(self.clock.getDelayedCalls(), [])
