"""Tests of `vespa.worker.reporter`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any, cast

from attrs import define, evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from tests.accounting.entries import opened
from tests.fakes import FakeAgent
from tests.seeds import examples
from vespa.accounting.ledger import Ledger
from vespa.accounting.lifecycle import Event
from vespa.runtime.http_client import BoundedClient
from vespa.vast.status_report import Condition, Identity
from vespa.worker.launch import TOLD
from vespa.worker.reporter import Reporter, failure_reporter
from vespa.worker.reporting_client import ReportingClient

IDENTITY = Identity(7, "token", "1.0", "https://1.2.3.4:5")
LOADING = Condition(0.0, 0.0, "", False)
READY = Condition(12.5, 50.0, "", True)
SERVED = (Event.ADMIT, Event.HEAD, Event.END)
FAILED = (Event.ADMIT, Event.BREAK)
CANCELLED = (Event.ADMIT, Event.HANG_UP)
REFUSED = (Event.REFUSE,)
UNIT = 1_000_000


@define
class Told:
    """One post; `delivered` is None while it is not answered."""

    at: float
    path: str
    body: dict[str, Any]
    skip: frozenset[str]
    delivered: bool | None = None


class FakeListener:
    """Takes posts, says no, or keeps them waiting, as `mode` says; counts how many are under way for each path."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.mode: bool | None = True
        self.posts: list[Told] = []
        self.under_way: Counter[str] = Counter()
        self.most_under_way = 0
        self._waiting: list[Deferred[bool]] = []

    async def post(self, path: str, body: bytes, *, skip: Iterable[str] = frozenset()) -> bool:
        told = Told(self.clock.seconds(), path, json.loads(body), frozenset(skip))
        self.posts.append(told)
        self.under_way[path] += 1
        self.most_under_way = max(self.most_under_way, self.under_way[path])
        try:
            if self.mode is None:
                waiting: Deferred[bool] = Deferred()
                self._waiting.append(waiting)
                told.delivered = await waiting
            else:
                told.delivered = self.mode
        finally:
            self.under_way[path] -= 1
        return told.delivered

    def release(self, delivered: bool) -> None:
        """Answer all that waits."""
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            if not one.called:
                one.callback(delivered)

    def of(self, path: str) -> list[Told]:
        return [told for told in self.posts if told.path == path]

    @property
    def reports(self) -> list[Told]:
        return self.of("/worker_status/")

    @property
    def deletes(self) -> list[Told]:
        return self.of("/delete_requests/")


class ReporterTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.set_up()

    def set_up(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000.0)
        self.listener = FakeListener(self.clock)
        self.ledger = Ledger(100_000)
        self.condition = LOADING
        self.disk = 100.0
        self.disk_asked = 0
        self.reporter = Reporter(
            cast(ReportingClient, self.listener),
            self.ledger,
            lambda: self.condition,
            IDENTITY,
            self.clock,
            random=lambda: 0.0,
            disk_usage=self.disk_usage,
        )

    def disk_usage(self) -> float:
        self.disk_asked += 1
        return self.disk

    def start(self) -> None:
        self.reporter.startService()

    def wait(self, seconds: float) -> None:
        self.clock.pump([0.5] * int(seconds * 2))

    def record(self, index: int, events: Iterable[Event], work: int = UNIT) -> None:
        """A request that goes through these events."""
        entry = opened(self.ledger, index, work, self.clock.seconds())
        for event in events:
            self.ledger.advance(entry, event, self.clock.seconds())

    def times(self) -> list[float]:
        return [told.at - 1000 for told in self.listener.reports]


class ReportTests(ReporterTests):
    def test_from_the_first_second(self) -> None:
        """A loading worker reports at once, and then every ten seconds."""
        self.start()
        self.wait(30)
        self.assertEqual(self.times(), [0, 10, 20, 30])
        self.assertEqual(self.listener.reports[0].body["id"], 7)

    def test_on_change(self) -> None:
        """A change of the ledger or of the worker's state is reported once, within the interval."""
        self.start()
        self.wait(3)
        self.record(1, SERVED)
        self.wait(3)
        self.condition = evolve(LOADING, error_msg="x")
        self.wait(3)
        self.assertEqual(self.times(), [0, 4, 7])
        self.wait(9)
        self.assertEqual(self.times(), [0, 4, 7, 17])
        self.assertEqual([told.body["cur_perf"] for told in self.listener.reports], [0, 1, 0, 0])
        self.assertEqual([told.body["error_msg"] for told in self.listener.reports], ["", "", "x", "x"])

    def test_meanwhile(self) -> None:
        """Events during a report are in the next report only."""
        self.start()
        self.listener.mode = None
        self.record(1, SERVED)
        self.wait(1)
        self.record(2, SERVED, 2 * UNIT)
        self.listener.mode = True
        self.listener.release(True)
        self.wait(2)
        self.assertEqual([told.body["cur_perf"] for told in self.listener.reports], [0, 1, 2])

    def test_undelivered(self) -> None:
        """Undelivered work is reported again, summed with later work, with growing pauses in an outage."""
        self.listener.mode = False
        self.start()
        for index in range(300):
            self.record(index, SERVED)
            self.wait(1)
        gaps = [after - before for before, after in zip(self.times(), self.times()[1:], strict=False)]
        self.assertEqual(gaps[:6], [1, 2, 4, 8, 16, 30])
        self.assertEqual(set(gaps[6:]), {30})
        self.listener.mode = True
        self.wait(30)
        delivered = [told.body["cur_perf"] for told in self.listener.reports if told.delivered]
        self.assertEqual((delivered[0], set(delivered[1:])), (300, {0}))

    def test_counts(self) -> None:
        """Delivered and failed bodies are counted by kind, and the oldest change that was not delivered is known."""
        self.start()
        self.wait(3)
        self.assertIsNone(self.reporter.undelivered_since)
        self.listener.mode = False
        self.wait(0.5)
        self.record(1, SERVED)
        self.wait(20)
        self.record(2, SERVED)
        self.wait(20)
        self.assertEqual(self.reporter.undelivered_since, 1004.0)
        self.listener.mode = True
        self.wait(30)
        self.assertIsNone(self.reporter.undelivered_since)
        reporter = self.reporter
        for delivered, failed, told in (
            (reporter.reports_delivered, reporter.reports_failed, self.listener.reports),
            (reporter.deletes_delivered, reporter.deletes_failed, self.listener.deletes),
        ):
            self.assertEqual(delivered, sum(each.delivered is True for each in told))
            self.assertEqual(failed, sum(each.delivered is False for each in told))
            self.assertGreater(failed, 1)

    def test_oldest_of_both_kinds(self) -> None:
        """As long as one kind fails, something is undelivered, though the other kind is delivered."""
        self.start()
        self.wait(3)
        self.listener.mode = None
        self.record(1, SERVED)
        self.wait(1)
        for waiting in self.listener.reports[-1:]:
            self.assertIsNone(waiting.delivered)
        self.assertEqual(self.reporter.undelivered_since, 1004.0)
        self.condition = READY
        self.listener.mode = True
        self.listener.release(True)
        self.assertIsNone(self.reporter.undelivered_since)

    def test_what_was_delivered(self) -> None:
        """It tells when the last report was delivered, and its load."""
        self.assertEqual(self.reporter.delivered_at, 0.0)
        self.start()
        self.assertEqual((self.reporter.delivered_at, self.reporter.delivered_load), (1000.0, 0))
        self.record(1, (Event.ADMIT,), 3 * UNIT)
        self.wait(1)
        self.assertEqual((self.reporter.delivered_at, self.reporter.delivered_load), (1001.0, 3 * UNIT))
        self.listener.mode = False
        self.wait(30)
        self.assertEqual(self.reporter.delivered_at, 1001.0)
        self.listener.mode = True
        self.wait(30)
        self.assertGreater(self.reporter.delivered_at, 1030.0)

    def test_one_at_a_time(self) -> None:
        """While a report has no response, no other report is sent, but deletes are."""
        self.listener.mode = None
        self.start()
        self.listener.mode = True
        self.record(1, SERVED)
        self.wait(60)
        self.assertEqual(len(self.listener.reports), 1)
        self.assertEqual(len(self.listener.deletes), 1)

    def test_loadtime_once(self) -> None:
        """The load time is in the first report delivered after it is known, and in no later one."""
        self.start()
        self.listener.mode = False
        self.condition = READY
        self.wait(2)
        self.listener.mode = True
        self.wait(60)
        self.assertEqual([told.body["loadtime"] for told in self.listener.reports if told.delivered][:1], [0])
        later = [told.body["loadtime"] for told in self.listener.reports if told.delivered][1:]
        self.assertEqual((later[0], set(later[1:])), (12.5, {0.0}))
        self.assertEqual(self.listener.reports[-1].body["max_perf"], 50.0)

    def test_disk(self) -> None:
        """The disk is asked once a minute at most; what was added is counted from the last report delivered."""
        self.start()
        self.disk = 103.0
        self.wait(55)
        self.assertEqual(self.disk_asked, 1)
        self.listener.mode = False
        self.wait(40)
        self.listener.mode = True
        self.wait(60)
        added = [told.body["additional_disk_usage"] for told in self.listener.reports if told.delivered]
        self.assertEqual((sum(added), added.count(3.0)), (3.0, 1))
        self.assertLessEqual(self.disk_asked, 3)
        self.assertEqual(self.listener.reports[-1].body["disk_usage"], 103.0)

    def test_disk_cannot_tell(self) -> None:
        """A disk that cannot be asked keeps no report back."""

        def broken() -> float:
            raise OSError("gone")

        self.reporter = Reporter(
            cast(ReportingClient, self.listener),
            self.ledger,
            lambda: LOADING,
            IDENTITY,
            self.clock,
            random=lambda: 0.0,
            disk_usage=broken,
        )
        self.start()
        self.assertEqual(self.listener.reports[0].body["disk_usage"], 0.0)


class DeleteTests(ReporterTests):
    def test_in_time(self) -> None:
        """A finished request is reported within the interval, in one body for each value of `success`."""
        self.start()
        for index, events in enumerate((SERVED, FAILED, CANCELLED, REFUSED)):
            self.record(index, events)
        self.wait(1)
        self.wait(10)
        self.assertEqual(
            [(told.body["success"], told.body["request_idxs"]) for told in self.listener.deletes],
            [(True, [0, 2]), (False, [1, 3])],
        )

    def test_skipped_address(self) -> None:
        """The address that takes no deletes gets reports only."""
        self.start()
        self.record(1, SERVED)
        self.wait(1)
        self.assertEqual(self.listener.deletes[0].skip, {"https://cloud.vast.ai/api/v0"})
        self.assertEqual(self.listener.reports[0].skip, frozenset())

    def test_half_delivered(self) -> None:
        """Of two bodies, only the undelivered one is sent again."""
        self.start()
        self.listener.mode = None
        self.record(1, SERVED)
        self.record(2, FAILED)
        self.wait(1)
        self.listener.release(True)
        self.listener.release(False)
        self.listener.mode = True
        self.wait(5)
        self.assertEqual([told.body["request_idxs"] for told in self.listener.deletes], [[1], [2], [2]])

    def test_bounded_bodies(self) -> None:
        """A long backlog goes out in bodies of a thousand, one after the other, all in one turn."""
        self.listener.mode = False
        self.start()
        for index in range(3500):
            self.record(index, SERVED)
        self.wait(1)
        self.listener.mode = True
        self.wait(2)
        delivered = [told for told in self.listener.deletes if told.delivered]
        self.assertEqual([len(told.body["request_idxs"]) for told in delivered], [1000, 1000, 1000, 500])
        self.assertEqual(self.listener.most_under_way, 1)
        self.assertEqual(sorted(i for told in delivered for i in told.body["request_idxs"]), list(range(3500)))

    def test_outage(self) -> None:
        """In an outage deletes are tried less and less often."""
        self.listener.mode = False
        self.start()
        self.record(1, SERVED)
        self.wait(200)
        self.assertLess(len(self.listener.deletes), 15)


class StopTests(ReporterTests):
    def assert_over(self) -> None:
        self.assertEqual(self.clock.getDelayedCalls(), [])
        count = len(self.listener.posts)
        self.wait(60)
        self.assertEqual(len(self.listener.posts), count)

    def test_last_words(self) -> None:
        """A stop tells what is left of both kinds, though nothing was due, and then there is silence."""
        self.start()
        self.wait(1)
        self.record(1, SERVED)
        stopped = self.reporter.stopService()
        self.successResultOf(stopped)
        self.assertEqual(self.listener.deletes[-1].body["request_idxs"], [1])
        self.assertEqual(self.listener.reports[-1].body["cur_perf"], 1.0)
        self.assert_over()

    def test_after_an_outage(self) -> None:
        """The last report is sent even during a pause after failures."""
        self.listener.mode = False
        self.start()
        self.record(1, SERVED)
        self.wait(100)
        self.listener.mode = True
        self.successResultOf(self.reporter.stopService())
        self.assertEqual(
            [told.delivered for told in (self.listener.deletes[-1], self.listener.reports[-1])], [True] * 2
        )

    def test_waits_for_what_is_under_way(self) -> None:
        """A report in progress at the stop may end, because it may be delivered: nothing is reported twice."""
        self.start()
        self.listener.mode = None
        self.record(1, SERVED)
        self.wait(1)
        stopped = self.reporter.stopService()
        self.wait(0.5)
        self.listener.mode = True
        self.listener.release(True)
        self.successResultOf(stopped)
        self.assertEqual([told.body["cur_perf"] for told in self.listener.reports], [0, 1, 0])
        self.assertEqual([told.body["request_idxs"] for told in self.listener.deletes], [[1]])
        self.assert_over()

    def test_bounded(self) -> None:
        """A stop takes 2 s at most without responses, and a report that hung is sent once more before."""
        self.start()
        self.listener.mode = None
        self.record(1, SERVED)
        self.wait(1)
        stopped = self.reporter.stopService()
        self.wait(1)
        self.assertEqual((len(self.listener.deletes), len(self.listener.reports)), (2, 3))
        self.wait(0.5)
        self.assertNoResult(stopped)
        self.wait(0.5)
        self.successResultOf(stopped)
        self.assert_over()

    def test_with_the_real_autoscaler(self) -> None:
        """Calls that hang are cancelled down to the network by a stop, in its two seconds."""
        agent = FakeAgent()
        http = BoundedClient(agent, self.clock)
        autoscaler = ReportingClient(["http://a.example"], http, random=lambda: 0.0, timeout=10.0)
        self.reporter = Reporter(
            autoscaler, self.ledger, lambda: READY, IDENTITY, self.clock, random=lambda: 0.0, disk_usage=self.disk_usage
        )
        self.start()
        self.record(1, SERVED)
        self.wait(1)
        stopped = self.reporter.stopService()
        self.wait(2)
        self.successResultOf(stopped)
        self.assertEqual([asked.cancelled for asked in agent.asked], [True] * 4)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_never_started(self) -> None:
        """A reporter that was not started, or has been stopped, sends no last report."""
        self.successResultOf(self.reporter.stopService())
        self.assertEqual(self.listener.posts, [])
        self.start()
        self.successResultOf(self.reporter.stopService())
        self.assertEqual(len(self.listener.reports), 2)
        self.successResultOf(self.reporter.stopService())
        self.assertEqual(len(self.listener.reports), 2)

    def test_told_why(self) -> None:
        """A worker that ends with an error says in its log that the autoscaler knows, where that is so."""
        for heard in (True, False):
            self.setUp()
            self.start()
            self.condition = evolve(LOADING, error_msg="cannot listen")
            self.listener.mode = heard
            with capturedLogs() as events:
                stopped = self.reporter.stopService()
                self.wait(30)
                self.successResultOf(stopped)
            said = [formatEvent(event) for event in events]
            self.assertEqual(TOLD in said, heard, said)


class FailureReportTests(ReporterTests):
    def test_says_why(self) -> None:
        """The failure reporter tells the error at once and every ten seconds, and nothing else."""
        self.reporter = failure_reporter(
            cast(ReportingClient, self.listener), "bad settings", IDENTITY, self.clock, random=lambda: 0.0
        )
        self.start()
        self.wait(25)
        self.assertEqual(self.times(), [0, 10, 20])
        self.assertEqual({told.body["error_msg"] for told in self.listener.reports}, {"bad settings"})
        self.assertEqual(self.listener.deletes, [])


KINDS = (SERVED, FAILED, CANCELLED, REFUSED, (Event.WAIT, Event.EXPIRE), (Event.WAIT, Event.SLOT, *SERVED[1:]))
STEPS = st.one_of(
    st.tuples(st.just("record"), st.sampled_from(KINDS), st.integers(0, 5 * UNIT)),
    st.tuples(st.just("mode"), st.sampled_from((True, False, None)), st.none()),
    st.tuples(st.just("release"), st.booleans(), st.none()),
    st.tuples(st.just("wait"), st.sampled_from((0.5, 1.0, 7.0, 40.0)), st.none()),
)


class OutageTests(ReporterTests):
    @settings(max_examples=examples(200))
    @given(st.lists(STEPS, max_size=60))
    def test_nothing_lost_nothing_twice(self, steps: list[tuple[str, Any, Any]]) -> None:
        """Through any outages, what is delivered in all is what was booked in all, and each delete is in one body."""
        self.set_up()
        self.start()
        recorded = 0
        served = rejected = 0
        for what, value, work in steps:
            if what == "record":
                self.record(recorded, value, work)
                recorded += 1
                served += work * (value[-1] is Event.END)
                rejected += work * (value[-1] in (Event.REFUSE, Event.EXPIRE))
            elif what == "mode":
                self.listener.mode = value
            elif what == "release":
                self.listener.release(value)
            else:
                self.wait(value)
        self.listener.mode = True
        self.listener.release(False)
        self.wait(31)
        self.successResultOf(self.reporter.stopService())
        delivered = [told for told in self.listener.posts if told.delivered]

        def told_in_all(field: str) -> int:
            return round(sum(told.body.get(field, 0) for told in delivered) * UNIT)

        self.assertEqual(told_in_all("cur_perf"), served)
        self.assertEqual(told_in_all("rej_load"), rejected)
        indexes = [index for told in delivered for index in told.body.get("request_idxs", ())]
        self.assertEqual(sorted(indexes), list(range(recorded)))
        self.assertLessEqual(self.listener.most_under_way, 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])
