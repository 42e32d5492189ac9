from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any, cast

from attrs import define
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.rig import GET, OK, Rig, post
from tests.worker.sessions.session_rig import SessionRig
from vespa.accounting.backend_slots import DOWN
from vespa.accounting.ledger import Ledger
from vespa.accounting.lifecycle import SERVED, State
from vespa.accounting.throughput_estimate import HALF_LIFE_SECONDS
from vespa.accounting.workload import MICROS
from vespa.benchmarking.contract import Figure
from vespa.observability.ended_requests import EndedRequests
from vespa.protocol.request_head import RequestHead
from vespa.transport.origin import Origin
from vespa.vast.status_report import Condition
from vespa.worker.usage.recalibration import LEAST_CHANGE, Recalibration

FIGURE = Figure(100.0, 4)


def head(method: bytes) -> RequestHead:
    found = RequestHead()
    found.method = method
    return found


@define(kw_only=True)
class Ended:
    """A request that has ended."""

    head: RequestHead
    started_at: float
    ended_at: float
    work: int = 200 * MICROS
    measured: int | None = None
    state: State = SERVED
    status: int = 200
    upstream_name: str = "backend"


class _Running(Clock):
    """A clock that goes on with each look at it, as a real one does."""

    def __init__(self, now: float) -> None:
        super().__init__()
        self.advance(now)

    def seconds(self) -> float:
        self.rightNow += 1e-5
        return self.rightNow


def _same(figure: float) -> float:
    return figure


class RecalibrationTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.rig = Rig(max_wait=10.0)
        self.clock: Clock = self.rig.clock
        self.figure: float | None = FIGURE
        self.rig.gate.throughput = FIGURE
        self.make(measures=False)

    def make(self, *, measures: bool) -> None:
        self.recalibration = Recalibration(
            self.clock, self.rig.gate, self.rig.ledger, lambda: self.figure, measures=measures
        )
        self.recalibration.startService()
        self.addCleanup(self.recalibration.stopService)

    def busy(self, seconds: int, *, at_once: int = 4, **changes: Any) -> None:
        """The backend has so many requests, each for four seconds. What their work is, `changes` says."""
        for _ in range(at_once - self.rig.gate.working):
            self.rig.ask(GET)
        values = {"head": head(b"POST"), **changes}
        for second in range(seconds):
            self.clock.advance(1.0)
            if second >= 4:
                now = self.clock.seconds()
                self.recalibration.take(
                    [Ended(started_at=now - 4, ended_at=now, **values) for _ in range(at_once // 4)]
                )

    def test_raises(self) -> None:
        """Requests of 200 units in four seconds, four at once, are 200 units a second: twice the benchmark."""
        self.busy(round(8 * HALF_LIFE_SECONDS))
        self.assertApproximates(self.recalibration.factor, 2.0, 0.02)
        self.assertApproximates(self.rig.gate.throughput, 200.0, 2.0)
        self.assertEqual(self.rig.gate.throughput, self.recalibration.throughput)
        self.assertEqual(self.rig.gate.throughput, self.recalibration.admission_throughput)
        self.assertEqual(self.recalibration.benchmark, 100.0)

    def test_reported(self) -> None:
        """Reports have the estimate as their throughput, and before there is a figure nothing."""
        condition = Condition(loadtime=3.0, max_perf=100.0, error_msg="", ready=True)
        self.assertEqual(self.recalibration.condition(condition), condition)
        self.busy(round(8 * HALF_LIFE_SECONDS), work=50 * MICROS)
        told = self.recalibration.condition(condition)
        self.assertApproximates(told.max_perf, 50.0, 1.0)
        self.assertEqual((told.loadtime, told.ready), (3.0, True))
        none = Condition(loadtime=0.0, max_perf=0.0, error_msg="", ready=False)
        self.assertEqual(self.recalibration.condition(none), none)

    def test_steps(self) -> None:
        """The throughput changes in steps: each is a report."""
        seen = set()
        for _ in range(200):
            self.busy(5)
            seen.add(self.rig.gate.throughput)
        found = sorted(seen)
        self.assertGreater(len(found), 3)
        for before, after in zip(found, found[1:], strict=False):
            self.assertGreaterEqual(after, before * (1 + LEAST_CHANGE) - 1e-9)

    def test_light_load(self) -> None:
        """With fewer requests than in the benchmark nothing is concluded."""
        self.busy(1000, at_once=3, work=1 * MICROS)
        self.assertEqual((self.recalibration.factor, self.rig.gate.throughput), (1.0, FIGURE))

    def test_slots(self) -> None:
        """A backend whose slots are all taken has all that it ever gets."""
        self.assert_halved(Rig(concurrency=4))

    def test_slots_of_a_backend_that_is_left_out(self) -> None:
        """With one of two backends gone, the slots of the other are all that there are."""
        rig = Rig(concurrency=4, several=[Origin("http", name, 8000) for name in ("a", "b")])
        assert rig.backends is not None
        rig.backends.set_health(rig.backends.all[0], DOWN)
        self.assert_halved(rig)

    def assert_halved(self, rig: Rig) -> None:
        """Four requests that take all slots show half of what a benchmark of 32 at once measured."""
        self.rig, self.clock = rig, rig.clock
        self.figure = Figure(100.0, 32)
        rig.gate.throughput = self.figure
        self.make(measures=False)
        self.busy(round(8 * HALF_LIFE_SECONDS), work=50 * MICROS)
        self.assertApproximates(self.recalibration.factor, 0.5, 0.01)

    def test_unknown_concurrency(self) -> None:
        """A benchmark without a concurrency, and no slots: nothing is known of any load."""
        self.figure = 100.0
        self.busy(1000, at_once=40, work=1 * MICROS)
        self.assertEqual(self.recalibration.factor, 1.0)

    def test_queue_before_a_part(self) -> None:
        """Where requests wait although slots are free, as before one of several backends, only their number decides."""
        gate = SimpleNamespace(throughput=100.0, working=3, waiting=1, full=False, max_wait_seconds=None)
        for figure, measured in ((100.0, True), (Figure(100.0, 4), False), (Figure(100.0, 3), True)):
            found = Recalibration(self.clock, cast(Any, gate), Ledger(1), partial(_same, figure), measures=False)
            for second in range(100):
                now = 1000.0 + second
                found.take([Ended(head=head(b"POST"), started_at=now - 4, ended_at=now)])
                found.tick(now)
            self.assertEqual(found.cost.measured, measured)

    def test_wait_limit(self) -> None:
        """If the worker refuses requests by its wait limit, the backend may show that it does more, never less."""
        for work, factor in ((50, 1.0), (400, 2.0)):
            with self.subTest(work):
                self.rig = Rig(max_wait=0.5)
                self.clock = self.rig.clock
                self.figure = Figure(100.0, 32)
                self.rig.gate.throughput = self.figure
                self.make(measures=False)
                for _ in range(4):
                    self.rig.ask(post(b"{}", b"/", b"X-Serverless-Cost: 12.6\r\n"))
                self.assertEqual(self.rig.gate.working, 4)
                self.rig.gate.max_wait_seconds = 0.25
                self.busy(round(8 * HALF_LIFE_SECONDS), work=work * MICROS)
                self.assertApproximates(self.recalibration.factor, factor, 0.02)

    def test_measured_work(self) -> None:
        """Where tokens are read, the measured work is reported, and a request without it is left out there."""
        self.make(measures=True)
        self.busy(100, work=100 * MICROS)
        self.assertFalse(self.recalibration.work.measured)
        self.busy(round(8 * HALF_LIFE_SECONDS), work=100 * MICROS, measured=50 * MICROS)
        self.assertApproximates(self.recalibration.throughput, 50.0, 1.0)

    def test_cost_for_admission(self) -> None:
        """Admission divides signed costs, so it goes by the cost that is served in a second, not by its tokens."""
        self.make(measures=True)
        self.busy(round(8 * HALF_LIFE_SECONDS), work=150 * MICROS, measured=60 * MICROS)
        self.assertApproximates(self.recalibration.throughput, 60.0, 1.5)
        self.assertApproximates(self.rig.gate.throughput, 150.0, 1.5)
        self.assertEqual(self.rig.gate.throughput, self.recalibration.admission_throughput)

    def test_no_work(self) -> None:
        """Requests that ask for a result, failed ones and upgraded connections say nothing of the throughput."""
        for changes in (
            {"head": head(b"GET")},
            {"state": State.FAILED},
            {"state": State.CANCELLED},
            {"state": State.UNSERVED},
            {"status": 101},
        ):
            with self.subTest(changes):
                self.busy(200, **changes)
                self.assertFalse(self.recalibration.cost.measured)

    def test_not_measured_yet(self) -> None:
        """Before the benchmark, and before the first ready, the gate's throughput is left alone."""
        for figure, throughput in ((None, 0.0), (FIGURE, 0.0), (None, 50.0)):
            self.figure, self.rig.gate.throughput = figure, throughput
            self.busy(3)
            self.assertEqual(self.rig.gate.throughput, throughput)

    def test_backend_leaves(self) -> None:
        """When backends come and go, the gate gets the sum of their figures: the factor is applied to that."""
        self.busy(round(8 * HALF_LIFE_SECONDS))
        self.figure = self.rig.gate.throughput = Figure(50.0, 2)
        self.clock.advance(1.0)
        self.assertApproximates(self.rig.gate.throughput, 100.0, 1.0)

    def test_ended_requests(self) -> None:
        """It is a subscriber of ended requests as they are."""
        ended = EndedRequests(Clock())
        rig = Rig(observer=ended)
        recalibration = Recalibration(rig.clock, rig.gate, Ledger(1), lambda: FIGURE, measures=False)
        ended.subscribe(recalibration.take)
        rig.ask(post(b"{}"))
        rig.clock.advance(2.0)
        rig.backend.wire.send(OK)
        ended.flush()
        self.assertEqual(recalibration.cost.pending, 1)

    def test_sessions(self) -> None:
        """A request that creates a session has a cost and no time at the backend: it is no measurement."""
        ended = EndedRequests(Clock())
        rig = SessionRig(observer=ended, clock=_Running(1_700_000_000.0))
        recalibration = Recalibration(rig.clock, rig.gate, rig.ledger, lambda: FIGURE, measures=False)
        ended.subscribe(recalibration.take)
        session_id = rig.create()
        ended.flush()
        self.assertEqual(recalibration.cost.pending, 0)
        rig.inside(session_id)
        rig.backend.wire.send(OK)
        ended.flush()
        self.assertEqual(recalibration.cost.pending, 1)

    def test_stop(self) -> None:
        """After its stop nothing is left on the clock."""
        self.recalibration.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])
