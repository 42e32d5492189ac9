"""A job is followed to its end, whatever becomes of it or of the backend."""

from __future__ import annotations

import sys
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import formatEvent
from twisted.trial.unittest import SynchronousTestCase

from tests.logs import observe_log
from tests.proxy.test_body_reader import head_of
from tests.simulator_support.comfyui import ComfyUIBackend
from vespa.engines.comfyui import ComfyUI
from vespa.engines.comfyui_wrapper import ComfyUIWrapper
from vespa.engines.interface import EngineRequest, EngineResponse, NoResponse
from vespa.engines.user_functions import UserJobs
from vespa.protocol.refusal import Refusal
from vespa.proxy.exchange import Exchange
from vespa.worker.engine.job_watcher import CHECKS_AT_ONCE, DEAD_SECONDS, MOST, RESULTS, JobWatcher

STEPS = 8
"""Seconds that a job with three steps takes."""


class FakeHead:
    method = b"POST"
    target = b"/prompt"


class FakeExchange:
    """Takes the end of its work."""

    head = FakeHead()
    backend = None
    content_only = False

    def __init__(self) -> None:
        self.ends: list[str] = []

    def work_ended(self, failure: Refusal | None = None, *, served: bool = True) -> None:
        self.ends.append(failure.code if failure is not None else "served" if served else "unserved")


class WatcherCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000.0)
        self.backend = ComfyUIBackend(self, self.clock)
        self.queue = self.backend.comfyui.queue
        self.watcher = self.make()

    def make(self, **more: Any) -> JobWatcher:
        watcher = JobWatcher(
            ComfyUI(), lambda exchange: self.backend, self.clock, **{"seconds": 600.0, "interval": 1.0, **more}
        )
        self.began: list[Exchange] = []
        self.ended: list[Exchange] = []
        watcher.began, watcher.ended = self.began.append, self.ended.append
        return watcher

    def answer(self, body: bytes, exchange: FakeExchange) -> bool:
        """Whether a response with this body keeps the account open."""
        reader = self.watcher.reader(cast(Exchange, exchange), head_of(b"Content-Length: 1\r\n"), len(body))
        assert reader is not None
        reader.read(body)
        return reader.end()

    def begin(self, steps: int = 3, **more: Any) -> FakeExchange:
        exchange = FakeExchange()
        self.assertTrue(self.answer(self.backend.queue(steps, **more).body, exchange))
        return exchange

    def pass_time(self, seconds: float) -> None:
        self.clock.pump([0.25] * int(seconds * 4))

    def result(self) -> str:
        (result,) = [name for name in RESULTS if self.watcher.results[name]]
        return result


class Ends(WatcherCase):
    def test_done(self) -> None:
        """The account ends soon after the job has, and only once."""
        exchange = self.begin()
        self.assertEqual((self.watcher.in_flight, self.watcher.oldest), (1, 1000.0))
        self.pass_time(STEPS - 1)
        self.assertEqual(exchange.ends, [])
        self.pass_time(3)
        self.assertEqual((exchange.ends, self.result()), (["served"], "done"))
        self.pass_time(20)
        self.assertEqual((exchange.ends, self.watcher.in_flight, self.watcher.oldest), (["served"], 0, None))
        self.assertEqual((self.began, self.ended), ([exchange], [exchange]))

    def test_cached(self) -> None:
        """A job that is done at once is noticed at once."""
        self.begin()
        self.pass_time(STEPS + 2)
        exchange = self.begin()
        self.pass_time(0.25)
        self.assertEqual(exchange.ends, ["served"])

    def test_error(self) -> None:
        """A job without a result has served no work, as a response with an error."""
        exchange = self.begin(30)
        self.pass_time(2)
        self.queue.interrupt()
        self.pass_time(3)
        self.assertEqual((exchange.ends, self.result()), (["unserved"], "error"))

    def test_restart(self) -> None:
        """A backend that was started again does not know the job: it has failed, long before its limit."""
        exchange = self.begin(300)
        self.pass_time(5)
        self.queue.forget()
        self.pass_time(8)
        self.assertEqual((exchange.ends, self.result()), (["job_lost"], "lost"))

    def test_dead(self) -> None:
        """Where no server listens any more, the job has failed."""
        exchange = self.begin(300)
        self.pass_time(5)
        self.backend.dead = NoResponse("refused", refused=True)
        self.pass_time(2.5)
        self.assertEqual((exchange.ends, self.result()), (["job_lost"], "lost"))

    def test_silent(self) -> None:
        """A backend may be silent for a while, as when it loads a model, but not for long."""
        exchange = self.begin(300)
        self.pass_time(5)
        self.backend.dead = NoResponse("silence")
        self.pass_time(DEAD_SECONDS - 5)
        self.assertEqual(exchange.ends, [])
        self.backend.dead = None
        self.pass_time(2)
        self.backend.dead = NoResponse("silence")
        self.pass_time(DEAD_SECONDS - 5)
        self.assertEqual(exchange.ends, [])
        self.pass_time(10)
        self.assertEqual((exchange.ends, self.result()), (["job_lost"], "lost"))

    def test_refused_once(self) -> None:
        """One refused connection is no death."""
        exchange = self.begin()
        self.pass_time(3)
        self.backend.dead = NoResponse("refused", refused=True)
        self.pass_time(1)
        self.backend.dead = None
        self.pass_time(STEPS)
        self.assertEqual(exchange.ends, ["served"])

    def test_limit(self) -> None:
        """A job that takes too long has failed, and is stopped in the engine first where that is wanted."""
        self.watcher = self.make(seconds=20.0)
        exchange = self.begin(100)
        self.pass_time(20)
        self.assertEqual((exchange.ends, self.queue.interrupts), (["job_timeout"], 0))
        self.queue.forget()
        self.watcher = self.make(seconds=20.0, stop_seconds=10.0)
        exchange = self.begin(101)
        self.pass_time(20)
        self.assertEqual((exchange.ends, self.queue.interrupts), ([], 1), "its slot is not free while it runs")
        self.pass_time(2)
        self.assertEqual((exchange.ends, self.result()), (["job_timeout"], "timeout"))

    def test_not_stopped(self) -> None:
        """A job that cannot be stopped holds its slot no longer than the limit for that."""
        self.watcher = self.make(seconds=20.0, stop_seconds=10.0)
        exchange = self.begin(100)
        self.pass_time(19)
        self.backend.dead = NoResponse("silence")
        self.pass_time(1.25)
        self.assertEqual(exchange.ends, ["job_timeout"])
        self.backend.dead = None
        self.queue.interrupt = lambda prompt_id=None: None  # type: ignore[method-assign]
        self.queue.forget()
        exchange = self.begin(101)
        self.pass_time(29)
        self.assertEqual(exchange.ends, [])
        self.pass_time(1.5)
        self.assertEqual(exchange.ends, ["job_timeout"])


class Beginnings(WatcherCase):
    def test_no_job(self) -> None:
        """A response that began nothing is recorded at once."""
        exchange = FakeExchange()
        for body in (b"", b"{}", b"<html>", b'{"prompt_id": 7}'):
            self.assertFalse(self.answer(body, exchange))
        self.assertEqual((self.began, self.watcher.in_flight), ([], 0))

    def test_other_responses(self) -> None:
        """Other paths, errors and long responses are not read."""
        exchange, head = FakeExchange(), head_of(b"Content-Length: 1\r\n")
        read = lambda length=1, head=head: self.watcher.reader(cast(Exchange, exchange), head, length)  # noqa: E731
        self.assertIsNotNone(read())
        self.assertIsNotNone(read(-1))
        self.assertIsNotNone(read(65537), "its beginning names the job")
        self.watcher.kind = ComfyUIWrapper()
        exchange.head = FakeHead()
        exchange.head.target = b"/generate"
        self.assertIsNotNone(read(65536))
        self.assertIsNone(read(65537))
        self.watcher.kind = ComfyUI()
        exchange.head = FakeHead()
        exchange.head.target = b"/queue"
        self.assertIsNone(read())
        exchange.head.target = b"/api/%70rompt?x=1"
        self.assertIsNotNone(read())
        self.assertIsNone(read(head=head_of(b"Content-Length: 1\r\n", 400)))

    def test_long_in_chunks(self) -> None:
        """A response that turns out to be long begins no job of a kind that needs the whole."""
        seen: list[bool] = []
        self.watcher.kind = UserJobs(lambda request, response: seen.append(response.whole))
        for size, wanted in ((65000, [True]), (65537, [])):
            reader = self.watcher.reader(cast(Exchange, FakeExchange()), head_of(b"Transfer-Encoding: chunked\r\n"), -1)
            assert reader is not None
            reader.read(b"%x\r\n%b\r\n0\r\n\r\n" % (size, bytes(size)))
            self.assertEqual((reader.end(), seen), (False, wanted), size)
            seen.clear()

    def test_too_many(self) -> None:
        """The number of jobs has a limit. One above it is not followed, and the log says so."""
        for number in range(MOST):
            self.answer(b'{"prompt_id": "a%d"}' % number, FakeExchange())
        events: list[Any] = []
        observe_log(self, events.append)
        self.assertFalse(self.answer(b'{"prompt_id": "b"}', FakeExchange()))
        self.assertEqual(self.watcher.in_flight, MOST)
        self.assertEqual(sum("a job is not followed" in formatEvent(each) for each in events), 1)

    def test_many(self) -> None:
        """Many jobs are checked in turn: few questions are under way at the same time."""
        most, now = 0, 0
        pending: list[Deferred[None]] = []

        class Slow(ComfyUIBackend):
            async def ask(self, method: str, path: str, value: object = None) -> EngineResponse:
                nonlocal most, now
                now += 1
                most = max(most, now)
                waiting: Deferred[None] = Deferred()
                pending.append(waiting)
                await waiting
                now -= 1
                return EngineResponse(
                    200, b"{}" if "history" in path else b'{"queue_running": [[0, "x"]], "queue_pending": []}'
                )

        self.backend = Slow(self, self.clock)
        self.watcher = self.make()
        for number in range(50):
            self.answer(b'{"prompt_id": "a%d"}' % number, FakeExchange())
        self.pass_time(1)
        self.assertEqual(most, 4)
        for _ in range(500):
            if pending:
                pending.pop().callback(None)
        self.assertEqual(most, 4)


class Functions(WatcherCase):
    def test_broken(self) -> None:
        """A function that fails for a response begins no job; one that fails for a check is asked again."""

        def job(request: EngineRequest, answer: EngineResponse) -> Any:
            raise LookupError("no")

        self.watcher.kind = UserJobs(job)
        self.assertFalse(self.answer(b"{}", FakeExchange()))
        self.assertEqual(len(self.flushLoggedErrors(LookupError)), 1)
        failures = 2

        async def check(ask: Any) -> bool | None:
            nonlocal failures
            failures -= 1
            if failures >= 0:
                raise LookupError("no")
            return True

        exchange = FakeExchange()
        self.watcher.kind = UserJobs(lambda request, answer: check)
        self.assertTrue(self.answer(b"{}", exchange))
        self.pass_time(5)
        self.assertEqual(exchange.ends, ["served"])
        self.assertEqual(len(self.flushLoggedErrors(LookupError)), 2)

    def test_exit(self) -> None:
        """A function that wants to end the process is asked again as well: its job must not stay for ever."""
        exits = 2

        async def check(ask: Any) -> bool | None:
            nonlocal exits
            exits -= 1
            return sys.exit(1) if exits >= 0 else True

        exchange = FakeExchange()
        self.watcher.kind = UserJobs(lambda request, answer: check)
        self.assertTrue(self.answer(b"{}", exchange))
        self.pass_time(5)
        self.assertEqual((exchange.ends, self.watcher.in_flight), (["served"], 0))
        self.assertEqual(len(self.flushLoggedErrors(SystemExit)), 2)

    def test_exit_for_a_response(self) -> None:
        """One that wants to end the process for a response begins no job: the response passes on."""
        self.watcher.kind = UserJobs(lambda request, answer: sys.exit(1))
        self.assertFalse(self.answer(b"{}", FakeExchange()))
        self.assertEqual(len(self.flushLoggedErrors(SystemExit)), 1)

    def test_endless(self) -> None:
        """A function that never returns is no answer: its job is lost in time, and other jobs get their turns."""
        self.watcher = self.make(seconds=200.0)

        async def check(ask: Any) -> bool | None:
            await Deferred()
            return True

        self.watcher.kind = UserJobs(lambda request, answer: check)
        endless = [FakeExchange() for _ in range(CHECKS_AT_ONCE)]
        for exchange in endless:
            self.assertTrue(self.answer(b"{}", exchange))
        self.pass_time(2)
        self.watcher.kind = ComfyUI()
        other = self.begin()
        self.pass_time(DEAD_SECONDS + 2)
        self.assertEqual([exchange.ends for exchange in endless], [["job_lost"]] * len(endless))
        self.pass_time(2)
        self.assertEqual((other.ends, self.watcher.in_flight), (["served"], 0))

    def test_endless_at_the_limit(self) -> None:
        """The limit of a job holds while its function has not returned, or waits for its turn."""
        self.watcher = self.make(seconds=20.0)

        async def check(ask: Any) -> bool | None:
            await Deferred()
            return True

        self.watcher.kind = UserJobs(lambda request, answer: check)
        exchanges = [FakeExchange() for _ in range(CHECKS_AT_ONCE + 1)]
        for exchange in exchanges:
            self.assertTrue(self.answer(b"{}", exchange))
        self.pass_time(19)
        self.assertEqual([exchange.ends for exchange in exchanges], [[]] * len(exchanges))
        self.pass_time(2)
        self.assertEqual([exchange.ends for exchange in exchanges], [["job_timeout"]] * len(exchanges))


class Draining(WatcherCase):
    def test_in_time(self) -> None:
        """The worker waits for jobs."""
        exchange = self.begin()
        done = Deferred.fromCoroutine(self.watcher.drained(60.0))
        self.pass_time(STEPS - 1)
        self.assertNoResult(done)
        self.pass_time(3)
        self.successResultOf(done)
        self.assertEqual(exchange.ends, ["served"])

    def test_late(self) -> None:
        """After that time a job has failed."""
        exchange, other = self.begin(100), self.begin(101)
        done = Deferred.fromCoroutine(self.watcher.drained(8.0))
        self.pass_time(7)
        self.assertNoResult(done)
        self.pass_time(1)
        self.successResultOf(done)
        self.assertEqual((exchange.ends, other.ends, self.result()), (["draining"], ["draining"], "stopped"))
        self.pass_time(20)
        self.assertEqual(exchange.ends, ["draining"])

    def test_none(self) -> None:
        """Without jobs there is nothing to wait for."""
        self.successResultOf(Deferred.fromCoroutine(self.watcher.drained(8.0)))
