"""Runs of a plan, on a clock and an agent that the test moves by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseFailed
from twisted.web.http_headers import Headers

from tests.fakes import Asked, FakeAgent, FakeResponse
from vespa.http.interfaces import UpstreamError
from vespa.loadtest.driver import AFTER_FAILURE_SECONDS, Driver
from vespa.loadtest.load_request import MESSAGE_LENGTH, Target
from vespa.loadtest.plan import Plan, arrivals
from vespa.loadtest.run_stats import LATE, RunStats
from vespa.loadtest.work import Work

WORK = Work("/go", b"{}", 5.0, True)
EVENT = b'data: {"choices": [{"delta": {"content": "a"}}]}\n\n'
DONE = b"data: [DONE]\n\n"
STREAM = Headers({"Content-Type": ["text/event-stream"]})


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.agent = FakeAgent()
        self.stats = RunStats()
        self.works: Callable[[], Work] = lambda: WORK

    def start(self, plan: Plan) -> Deferred[None]:
        due: Iterator[float] = arrivals(plan, Random(0)) if plan.open_loop else iter(())
        self.driver = Driver(
            self.clock,
            self.clock.seconds,
            plan,
            due,
            lambda: self.works(),
            self.agent,
            Target(url="http://there:80/base", headers={"X-More": "yes"}),
            self.stats,
        )
        return self.driver.run()

    def pass_time(self, seconds: float, step: float = 0.01) -> None:
        self.clock.pump([step] * round(seconds / step))

    def answers(self, seconds: float) -> Callable[[Asked], None]:
        """Each request is answered after so many seconds."""

        def answer(asked: Asked) -> None:
            self.clock.callLater(seconds, asked.answer, 200, b"{}")

        return answer


class OpenLoopTests(Case):
    def test_rate(self) -> None:
        """Requests leave at their rate, whatever becomes of those before them."""
        run = self.start(Plan(requests=5, rps=10))
        self.assertEqual(len(self.agent.asked), 1)
        self.pass_time(0.25)
        self.assertEqual(len(self.agent.asked), 3)
        self.pass_time(1)
        self.assertEqual((len(self.agent.asked), self.stats.in_flight), (5, 5))
        self.assertNoResult(run)
        for asked in self.agent.asked:
            asked.answer()
        self.successResultOf(run)
        self.assertEqual((self.stats.succeeded, self.stats.in_flight), (5, 0))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_what_is_sent(self) -> None:
        """A request is a POST of JSON that tells its cost."""
        self.start(Plan(requests=1, rps=10))
        [asked] = self.agent.asked
        self.assertEqual((asked.method, asked.url, asked.body), ("POST", "http://there:80/base/go", b"{}"))
        sent = {name.lower(): values for name, values in asked.headers.getAllRawHeaders()}
        self.assertEqual(sent[b"x-serverless-cost"], [b"5"])
        self.assertEqual(sent[b"content-type"], [b"application/json"])
        self.assertEqual(sent[b"accept"], [b"text/event-stream"])
        self.assertEqual(sent[b"x-more"], [b"yes"])

    def test_coordinated_omission(self) -> None:
        """Latency counts from the time when a request was due, even if the tester was stopped for a second."""
        self.agent.on_request = self.answers(0.1)
        run = self.start(Plan(requests=11, rps=10))
        self.clock.advance(1.0)  # in one leap: nothing ran meanwhile
        self.pass_time(0.5)
        self.successResultOf(run)
        self.assertEqual((self.stats.late, self.stats.held_back), (9, 0))  # the last was due at the very end
        latency = self.stats.latency.spread()
        self.assertApproximates(latency.max, 1.0, 0.02)
        self.assertApproximates(latency.p50, 0.6, 0.02)
        self.assertApproximates(self.stats.service.spread().p50, 0.1, 0.02)
        self.assertApproximates(self.driver.lag, 0.9, 0.02)

    def test_on_time(self) -> None:
        """A tester that keeps up is late by no more than a turn, and says so of none."""
        self.agent.on_request = self.answers(0.1)
        self.start(Plan(requests=20, rps=10))
        self.pass_time(3, 0.005)
        self.assertEqual((self.stats.late, self.stats.succeeded), (0, 20))
        self.assertLessEqual(self.stats.lateness.spread().max, LATE)

    def test_cap(self) -> None:
        """Those that a cap holds back are late by its doing, and count from when they were due all the same."""
        self.agent.on_request = self.answers(0.5)
        run = self.start(Plan(requests=6, rps=10, concurrency=2))
        most = 0
        for _ in range(200):
            most = max(most, self.driver.under_way)
            self.clock.advance(0.01)
        self.successResultOf(run)
        self.assertEqual((most, self.stats.late, self.stats.held_back, self.stats.succeeded), (2, 0, 4, 6))
        # Sent at 0, 0.1, 0.5, 0.6, 1.0, 1.1; due at 0, 0.1 … 0.5.
        self.assertApproximates(self.stats.latency.spread().max, 1.1, 0.05)

    def test_never_sent(self) -> None:
        """Requests that the cap holds back until the end are not sent, but counted."""
        run = self.start(Plan(requests=0, rps=10, concurrency=1, duration=1))
        self.pass_time(2)
        self.assertNoResult(run)
        self.agent.asked[0].answer()
        self.successResultOf(run)
        self.assertEqual((self.stats.sent, self.stats.never_sent), (1, 9))

    def test_freed_at_the_end(self) -> None:
        """What the cap held back is not late by the tester's fault, though a place is free just as the time is over."""
        self.agent.on_request = self.answers(0.995)
        run = self.start(Plan(requests=0, rps=10, concurrency=1, duration=1))
        self.clock.advance(1)
        self.assertEqual((self.stats.sent, self.stats.late, self.stats.held_back, self.stats.never_sent), (2, 0, 1, 8))
        self.clock.advance(1)
        self.successResultOf(run)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_duration(self) -> None:
        """When the time is over no more are sent, and those under way are waited for."""
        self.agent.on_request = self.answers(0.5)
        run = self.start(Plan(requests=0, rps=10, duration=1))
        self.pass_time(1.3)
        self.assertNoResult(run)
        self.pass_time(0.2)
        self.successResultOf(run)
        self.assertEqual((self.stats.sent, self.stats.succeeded, self.stats.never_sent), (10, 10, 0))

    def test_all_fail_at_once(self) -> None:
        """Requests that fail before they are even sent end a run as well."""
        self.agent.on_request = lambda asked: asked.fail(UpstreamError("backend_unreachable", "refused"))
        run = self.start(Plan(requests=3, rps=10))
        self.pass_time(1)
        self.successResultOf(run)
        self.assertEqual(self.stats.failed, 3)


class ClosedLoopTests(Case):
    def test_places(self) -> None:
        """The given number of requests is in flight, until all have been sent."""
        self.agent.on_request = self.answers(0.1)
        run = self.start(Plan(requests=7, concurrency=3))
        most = 0
        for _ in range(100):
            most = max(most, self.driver.under_way)
            self.clock.advance(0.01)
        self.successResultOf(run)
        self.assertEqual((most, self.stats.succeeded, self.stats.late), (3, 7, 0))

    def test_fewer_than_places(self) -> None:
        """No more are sent than were asked for."""
        self.agent.on_request = self.answers(0.1)
        run = self.start(Plan(requests=2, concurrency=9))
        self.pass_time(0.5)
        self.successResultOf(run)
        self.assertEqual(self.stats.sent, 2)

    def test_rest_after_failure(self) -> None:
        """A server that refuses at once is not hammered."""
        self.agent.on_request = lambda asked: asked.fail(UpstreamError("backend_unreachable", "refused"))
        run = self.start(Plan(requests=0, concurrency=1, duration=1))
        self.pass_time(1.5)
        self.successResultOf(run)
        self.assertLessEqual(self.stats.sent, 1 / AFTER_FAILURE_SECONDS + 1)

    def test_duration(self) -> None:
        """When the time is over no more are sent."""
        self.agent.on_request = self.answers(0.3)
        run = self.start(Plan(requests=0, concurrency=2, duration=1))
        self.pass_time(2)
        self.successResultOf(run)
        self.assertEqual(self.stats.sent, 8)


class EndTests(Case):
    def test_interrupt(self) -> None:
        """An interrupt sends no more, waits a little, and gives the rest up: neither succeeded nor failed."""
        run = self.start(Plan(requests=100, rps=10))
        self.pass_time(0.25)
        self.driver.stop("interrupted", 5)
        self.agent.asked[0].answer()
        self.pass_time(4.9, 0.1)
        self.assertEqual(len(self.agent.asked), 3)
        self.assertNoResult(run)
        self.pass_time(0.2)
        self.successResultOf(run)
        self.assertEqual((self.stats.succeeded, self.stats.failed, self.stats.unfinished), (1, 0, 2))
        self.assertTrue(self.agent.asked[1].cancelled)
        self.assertEqual((self.driver.interrupted, self.clock.getDelayedCalls()), ("interrupted", []))

    def test_impatient(self) -> None:
        """A second interrupt gives up at once."""
        run = self.start(Plan(requests=100, concurrency=4))
        self.driver.stop("interrupted", 5)
        self.driver.stop("interrupted", 0)
        self.successResultOf(run)
        self.assertEqual(self.stats.unfinished, 4)
        self.driver.stop("again", 0)

    def test_timeout(self) -> None:
        """A request that is not over in time is cut off, before its response and in the midst of it."""
        run = self.start(Plan(requests=2, concurrency=2, timeout=3))
        response = FakeResponse(200, EVENT, headers=STREAM, end=None)
        self.agent.asked[1].result.callback(response)
        self.pass_time(3.1)
        self.successResultOf(run)
        self.assertEqual({key[0] for key in self.stats.errors}, {"timeout"})
        self.assertEqual(self.stats.failed, 2)
        self.assertTrue(self.agent.asked[0].cancelled and response.transport.aborted)
        assert response.reader is not None
        response.reader.dataReceived(EVENT)  # what was already on its way
        self.assertEqual(self.stats.failed, 2)

    def test_late_response(self) -> None:
        """A response that an agent gives although it was cancelled is cut off, and changes nothing."""
        response = FakeResponse(200, EVENT, headers=STREAM, end=None)

        def answer_when_cancelled(asked: Asked) -> None:
            asked.result = Deferred(lambda result: result.callback(response))

        self.agent.on_request = answer_when_cancelled
        run = self.start(Plan(requests=1, concurrency=1))
        self.driver.stop("interrupted", 0)
        self.successResultOf(run)
        self.assertEqual((response.transport.aborted, self.stats.statuses, self.stats.bytes), (True, {}, 0))

    def test_no_request_at_all(self) -> None:
        """A benchmark that cannot make the first request ends the run at once, and leaves no timer behind."""

        def works() -> Work:
            raise LookupError("no prompts")

        self.works = works
        for plan in (Plan(requests=10, rps=10), Plan(requests=10, concurrency=3, duration=5)):
            self.successResultOf(self.start(plan))
            self.assertIn("LookupError: no prompts", self.driver.interrupted)
            self.assertEqual((self.stats.sent, self.clock.getDelayedCalls()), (0, []))

    def test_no_more_requests(self) -> None:
        """A benchmark that fails to make a request ends the run, which says why, after what is under way."""
        made = iter([WORK, WORK])

        def works() -> Work:
            for work in made:
                return work
            raise LookupError("out of prompts")

        self.works = works
        run = self.start(Plan(requests=10, rps=10))
        self.pass_time(1)
        self.assertIn("LookupError: out of prompts", self.driver.interrupted)
        self.assertNoResult(run)
        for asked in self.agent.asked:
            asked.answer()
        self.successResultOf(run)
        self.assertEqual(self.stats.succeeded, 2)


class OutcomeTests(Case):
    """What kinds of ends there are, of one request."""

    def one(self, response: FakeResponse | Exception) -> tuple[str, int, str, str] | None:
        """Kind, status, code and message of the failure; None when it succeeded."""
        self.stats = RunStats()
        self.agent.asked.clear()
        run = self.start(Plan(requests=1, concurrency=1))
        if isinstance(response, Exception):
            self.agent.asked[0].fail(response)
        else:
            self.agent.asked[0].result.callback(response)
        self.pass_time(0.2)
        self.successResultOf(run)
        found = [(e.kind, e.status, e.code, e.message) for e in self.stats.errors.values()]
        return found[0] if found else None

    def test_success(self) -> None:
        """A stream that says that it is over has succeeded."""
        self.assertIsNone(self.one(FakeResponse(200, EVENT, EVENT + EVENT, DONE, headers=STREAM)))
        self.assertEqual((self.stats.tokens, self.stats.without_usage), (3, 1))
        self.assertEqual(self.stats.bytes, 3 * len(EVENT) + len(DONE))
        self.assertEqual(self.stats.between_tokens.spread().count, 2)

    def test_statuses(self) -> None:
        """A status but 2xx is a failure, with Vespa's word for it and what the body says."""
        headers = Headers({"X-Vespa-Error": ["overloaded"], "Content-Type": ["application/json"]})
        body = b'{"error": {"code": "overloaded", "message": "too much"}}'
        self.assertEqual(self.one(FakeResponse(429, body, headers=headers)), ("status", 429, "overloaded", "too much"))
        self.assertEqual(self.one(FakeResponse(502, b"Bad\n gate", b"way")), ("status", 502, "", "Bad gateway"))
        self.assertEqual(self.one(FakeResponse(302)), ("status", 302, "", ""))
        self.assertEqual(self.stats.statuses, {302: 1})
        for length in (MESSAGE_LENGTH, MESSAGE_LENGTH + 1):
            found = self.one(FakeResponse(500, b"x" * length))
            cut = length > MESSAGE_LENGTH
            self.assertEqual(found and found[3], "x" * (MESSAGE_LENGTH - cut) + "…" * cut)

    def test_connections(self) -> None:
        """Failed and lost connections are counted under the agent's code."""
        for code, kind in (
            ("backend_unreachable", "connection"),
            ("no_reply", "connection"),
            ("bad_reply", "protocol"),
        ):
            self.assertEqual(self.one(UpstreamError(code, "because")), (kind, 0, code, "because"))
        self.assertEqual(self.one(ValueError("not an http URL")), ("connection", 0, "", "not an http URL"))

    def test_streams(self) -> None:
        """An error in a stream, a stream that breaks off, and one that ends too early."""
        error = b'data: {"error": {"message": "out of memory"}}\n\n'
        self.assertEqual(
            self.one(FakeResponse(200, EVENT, error, DONE, headers=STREAM)), ("stream", 200, "", "out of memory")
        )
        broken = ResponseFailed([ValueError("lost")])
        self.assertEqual(self.one(FakeResponse(200, EVENT, headers=STREAM, end=broken)), ("truncated", 200, "", "lost"))
        found = self.one(FakeResponse(200, EVENT, headers=STREAM))
        self.assertEqual(found and found[:2], ("truncated", 200))

    def test_failed_response(self) -> None:
        """A whole response of status 200 that says it failed is a failure."""
        json = Headers({"Content-Type": ["application/json"]})
        answer = FakeResponse(200, b'{"status": "failed", "message": "no model"}', headers=json)
        self.assertEqual(self.one(answer), ("answer", 200, "", "no model"))
