"""Whole runs: on a clock that the test moves, and against the simulator's backend over real connections."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from itertools import count

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.fakes import FakeAgent
from tests.loadtest.reports import ABOUT
from tests.simulator_support.backend import ControlledBackend
from vespa.http.agent import Agent
from vespa.loadtest.load_request import Target
from vespa.loadtest.plan import Plan
from vespa.loadtest.progress import Progress
from vespa.loadtest.report import Report
from vespa.loadtest.run import GRACE_SECONDS, Run
from vespa.loadtest.work import Work, prepare
from vespa.runtime.terminal import Terminal
from vespa.simulator.serving import serve

CHATS = "/v1/chat/completions"
CHAT = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 20}


def chat(stream: bool | None = None) -> Work:
    return prepare((CHATS, CHAT, 20), stream)


class InterruptTests(SynchronousTestCase):
    def start(self, plan: Plan) -> Deferred[Report]:
        self.clock = Clock()
        self.agent = FakeAgent()
        self.stream = io.StringIO()
        self.run_ = Run(
            clock=self.clock,
            now=self.clock.seconds,
            cpu=self.clock.seconds,
            plan=plan,
            about=ABOUT,
            agent=self.agent,
            works=chat,
            progress=Progress(self.clock, self.clock.seconds, Terminal(self.stream, {})),
        )
        return Deferred.fromCoroutine(self.run_.test(Target(url="http://there")))

    def test_first(self) -> None:
        """An interrupt says how long what is under way may take, sends no more, and there is a report."""
        running = self.start(Plan(requests=9, concurrency=2))
        self.run_.interrupt()
        self.assertIn(f"2 requests in flight have {GRACE_SECONDS:g} s to end", self.stream.getvalue())
        self.agent.asked[0].answer()
        self.clock.advance(GRACE_SECONDS - 0.1)
        self.assertNoResult(running)
        self.clock.advance(0.2)
        report = self.successResultOf(running)
        self.assertEqual(
            (report.interrupted, report.sent, report.succeeded, report.unfinished), ("interrupted", 2, 1, 1)
        )
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_second(self) -> None:
        """A second one waits for nothing."""
        running = self.start(Plan(requests=9, concurrency=2))
        self.run_.interrupt()
        self.run_.interrupt()
        self.assertEqual(self.successResultOf(running).unfinished, 2)
        self.assertEqual(self.stream.getvalue().count("in flight have"), 1)

    def test_warm_up(self) -> None:
        """Interrupted in the warm-up, the test does not begin, and there is nothing to report."""
        running = self.start(Plan(requests=9, concurrency=2, warmup=3))
        self.run_.interrupt()
        for asked in self.agent.asked:
            asked.answer()
        self.failureResultOf(running, CancelledError)
        self.assertEqual(len(self.agent.asked), 2)


class SimulatedTests(TestCase):
    timeout = 60

    async def run_test(self, plan: Plan, works: Callable[[], Work], rate: float = 200.0) -> Report:
        self.backend = ControlledBackend(reactor, tokens_per_second=rate)
        served = await serve(self.backend.resource(), TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1"))
        agent = Agent(reactor)
        run = Run(
            clock=reactor,
            now=time.perf_counter,
            cpu=time.process_time,
            plan=plan,
            about=ABOUT,
            agent=agent,
            works=works,
        )
        try:
            return await run.test(Target(url=served.url))
        finally:
            agent.close()
            await served.stop()

    async def test_streams(self) -> None:
        """Streams at a rate: what the report says is what the backend knows it did."""
        report = await self.run_test(Plan(requests=20, rps=40), chat)
        self.assertEqual((report.succeeded, report.statuses, report.errors), (20, {"200": 20}, ()))
        self.assertEqual((report.tokens, report.tokens_counted_by), (400, "usage"))
        self.assertEqual((report.between_tokens.count, report.first_token.count), (380, 20))
        self.assertEqual((report.input_tokens, report.per_output_token.count), (20, 20))
        # The last word comes 19 times 5 ms after the first.
        self.assertGreaterEqual(report.per_output_token.p50, 0.0045)
        self.assertLess(report.per_output_token.p50, report.latency.p50 / 19)
        # 21 events 5 ms apart: the first without text.
        self.assertGreater(report.latency.min, 0.1)
        self.assertGreaterEqual(report.between_tokens.p50, 0.004)
        self.assertLess(report.first_token.p50, report.latency.p50)
        self.assertGreater(report.seconds, 19 / 40)
        self.assertEqual(sum(second.tokens for second in report.timeline), 400)
        self.assertEqual(self.backend.stats.finished, 20)

    async def test_whole_responses(self) -> None:
        """Whole responses have no times of tokens, and their tokens count."""
        report = await self.run_test(Plan(requests=6, concurrency=3), lambda: chat(False))
        self.assertEqual((report.succeeded, report.tokens), (6, 120))
        self.assertEqual((report.first_token.count, report.between_tokens.count), (0, 0))
        self.assertEqual(report.first_byte.count, 6)

    async def test_warm_up(self) -> None:
        """The warm-up reaches the backend, and no figure."""
        report = await self.run_test(Plan(requests=4, concurrency=2, warmup=3), chat)
        self.assertEqual((report.sent, report.succeeded, self.backend.stats.finished), (4, 4, 7))

    async def test_failures(self) -> None:
        """Statuses, broken responses and timeouts are counted apart, and the backend sees cut connections."""
        paths = ["/status/503", "/die?size=1000&after=200", "/sleep?seconds=30", "/nothing", CHATS]
        numbers = count()

        def works() -> Work:
            path = paths[next(numbers) % len(paths)]
            return chat() if path == CHATS else prepare((path, {}, 1), None)

        report = await self.run_test(Plan(requests=10, rps=50, timeout=3.0), works)
        found = {(error.kind, error.status): error.count for error in report.errors}
        expected = {("status", 503): 2, ("truncated", 200): 2, ("timeout", 0): 2, ("status", 404): 2}
        self.assertEqual((found, report.succeeded), (expected, 2))
        self.assertIn("status 503, as you asked", [error.message for error in report.errors])

    async def test_nobody_there(self) -> None:
        """If no server listens, every request fails to connect, and the run ends."""
        agent = Agent(reactor)
        run = Run(
            clock=reactor,
            now=time.perf_counter,
            cpu=time.process_time,
            plan=Plan(requests=3, concurrency=3),
            about=ABOUT,
            agent=agent,
            works=chat,
        )
        report = await run.test(Target(url="http://127.0.0.1:1"))
        self.assertEqual(
            [(error.kind, error.code, error.count) for error in report.errors],
            [("connection", "server_unreachable", 3)],
        )
