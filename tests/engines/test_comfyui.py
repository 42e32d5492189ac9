"""Jobs of ComfyUI are followed and stopped by its own routes, and no other caller's job is."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.simulator_support.comfyui import ComfyUIBackend
from vespa.engines.comfyui import QUEUE_TURNS, ComfyUI, ComfyUIJob
from vespa.engines.interface import EngineRequest, EngineResponse, JobState, UnexpectedResponse

WORKING, DONE, ERROR, GONE = JobState.WORKING, JobState.DONE, JobState.ERROR, JobState.GONE


class ComfyUICase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.backend = ComfyUIBackend(self, self.clock)
        self.queue = self.backend.comfyui.queue

    def begin(self, steps: int = 3, **more: Any) -> ComfyUIJob:
        """A job that is in the queue, and runs if nothing else does."""
        job = ComfyUIJob(self.backend.begin(steps, **more))
        self.clock.advance(0)
        return job

    def check(self, job: ComfyUIJob) -> JobState:
        return self.successResultOf(Deferred.fromCoroutine(job.check(self.backend)))

    def stop(self, job: ComfyUIJob) -> Deferred[None]:
        return Deferred.fromCoroutine(job.stop(self.backend))


class Late(ComfyUIBackend):
    """A second passes before a change of the queue arrives."""

    async def ask(self, method: str, path: str, value: object = None) -> EngineResponse:
        if (method, path) == ("POST", "/queue"):
            self.clock.advance(1)
        return await super().ask(method, path, value)


class Recognising(SynchronousTestCase):
    def test_job(self) -> None:
        """A response with an id has begun a job; an error, another value, or no JSON has not."""
        engine, request = ComfyUI(), EngineRequest("POST", "/prompt")
        for status, body, name in (
            (200, b'{"prompt_id": "abc", "number": 1, "node_errors": {}}', "abc"),
            (400, b'{"prompt_id": "abc"}', None),
            (200, b'{"prompt_id": ""}', None),
            (200, b'{"prompt_id": "a\\"c", "number": 1, "node_errors": {"3": {"err', 'a"c'),
            (200, b'{"prompt_id": "ab', None),
            (200, b'{"prompt_id": 7, "no', None),
            (200, b'{"prompt_id": 7}', None),
            (200, b"[]", None),
            (200, b"<html>", None),
            (200, b"\xff", None),
            (200, b"", None),
        ):
            job = engine.job(request, EngineResponse(status, body))
            self.assertEqual(job.name if job is not None else None, name, body)

    def test_paths(self) -> None:
        """Only POST /prompt begins a job; only what asks for a state or a result is a poll."""
        engine = ComfyUI()
        for method, path, expected in (
            ("POST", "/prompt", True),
            ("POST", "/api/prompt", True),
            ("GET", "/prompt", False),
            ("POST", "/queue", False),
            ("POST", "/prompt/x", False),
        ):
            self.assertEqual(engine.may_begin(method, path), expected, (method, path))
            self.assertEqual(engine.begin(EngineRequest(method, path)) is not None, expected, (method, path))
        for path, expected in (
            ("/history/abc", True),
            ("/api/view", True),
            ("/queue", True),
            ("/ws", False),
            ("/object_info", False),
            ("/", False),
        ):
            self.assertEqual(engine.is_poll(path), expected, path)
        for method, path, expected in (
            ("POST", "/queue", True),
            ("POST", "/api/interrupt", True),
            ("GET", "/interrupt", False),
            ("POST", "/prompt", False),
            ("POST", "/queue/x", False),
        ):
            self.assertEqual(engine.is_cancel(method, path), expected, (method, path))


class Following(ComfyUICase):
    def test_done(self) -> None:
        """It works while it waits and runs, and is done when it is in the history."""
        first, second = self.begin(), self.begin(4)
        for _ in range(8):
            self.assertEqual((self.check(first), self.check(second)), (WORKING, WORKING))
            self.clock.advance(1)
        self.assertEqual((self.check(first), self.check(second)), (DONE, WORKING))

    def test_few_looks_at_the_queue(self) -> None:
        """The queue holds whole workflows, so it is looked at seldom once the job was seen in it."""
        job = self.begin(100)
        for _ in range(2 * QUEUE_TURNS):
            self.assertEqual(self.check(job), WORKING)
        looks = [path for path, _ in self.backend.did("GET") if path == "/queue"]
        self.assertEqual(len(looks), 3)

    def test_error(self) -> None:
        """A node that failed, and an interrupt, end a job without a result."""
        prompt = {"7": {"class_type": "Broken", "inputs": {}}}
        broken = ComfyUIJob(
            self.backend.caller.post_json("/prompt", {"prompt": {**self._prompt(), **prompt}}).json["prompt_id"]
        )
        self.clock.pump([0, *[1.0] * 20])
        self.assertEqual(self.check(broken), ERROR)
        stopped = self.begin()
        self.queue.interrupt(stopped.name)
        self.clock.advance(1)
        self.assertEqual(self.check(stopped), ERROR)

    def _prompt(self) -> dict[str, Any]:
        self.begin()
        assert self.queue.running is not None
        return self.queue.running.prompt

    def test_gone(self) -> None:
        """A job that neither queue nor history has was lost, as by a restart or a delete."""
        job = self.begin()
        self.assertEqual(self.check(job), WORKING)
        self.queue.forget()
        self.assertEqual([self.check(job) for _ in range(QUEUE_TURNS + 1)][-2:], [GONE, GONE], "no doubt remains")
        self.assertEqual(self.check(ComfyUIJob("never")), GONE)

    def test_older_job_of_the_same_id(self) -> None:
        """A caller may give a job the id of one that has ended: it is done when it is itself."""
        self.begin(prompt_id="mine")
        self.clock.pump([1.0] * 8)
        again = self.begin(9, prompt_id="mine")
        self.assertEqual(self.check(again), WORKING)
        self.clock.pump([1.0] * 14)
        self.assertEqual(self.check(again), DONE)

    def test_old_version(self) -> None:
        """A history without a status, as older versions have, means that the job is done."""
        job = self.begin()
        self.clock.pump([1.0] * 8)
        del self.queue.history[job.name]["status"]
        self.assertEqual(self.check(job), DONE)

    def test_other_server(self) -> None:
        """What is not ComfyUI is named as such."""
        job = ComfyUIJob("abc")

        class Other:
            answer = EngineResponse(404)

            async def ask(self, method: str, path: str, value: object = None) -> EngineResponse:
                return self.answer

            async def pause(self, seconds: float) -> None:
                raise AssertionError

        other = Other()
        for answer in (
            EngineResponse(404),
            EngineResponse(200, b"[]"),
            EngineResponse(200, b'{"abc": 7}'),
            EngineResponse(200, b"\xff{"),
        ):
            other.answer = answer
            self.failureResultOf(Deferred.fromCoroutine(job.check(other)), UnexpectedResponse)

    def test_odd_workflows(self) -> None:
        """Another caller's workflow may hold what is no strict JSON, or be nested deeply: that ends nobody's job."""
        job = self.begin()
        deep: Any = "x"
        for _ in range(900):
            deep = [deep]
        waiting = self.queue.waiting
        for odd in ("cut \ud83d", float("nan"), 10**400, deep, {"\ud83d": float("inf")}):
            self.backend.queue(9)
            assert self.queue.running is not None
            self.queue.running.prompt["6"]["inputs"]["text"] = waiting[0].prompt["6"]["inputs"]["text"] = odd
            self.assertEqual(self.check(ComfyUIJob(job.name)), WORKING)
            self.assertEqual(self.check(ComfyUIJob(waiting[0].prompt_id)), WORKING)
            self.assertEqual(self.check(ComfyUIJob("never")), GONE)
        self.clock.pump([1.0] * 8)
        self.assertEqual(self.check(job), DONE)

    def test_unreadable(self) -> None:
        """Where no parser reads the queue and the history, the text of the id decides; nothing is stopped then."""
        job, broken = self.begin(), self.begin(4)
        self.queue.interrupt()
        self.clock.advance(1)
        deep = b"[" * 100_000

        class Deep(ComfyUIBackend):
            async def ask(self, method: str, path: str, value: object = None) -> EngineResponse:
                answer = await super().ask(method, path, value)
                return EngineResponse(answer.status, answer.body.replace(b'"steps"', deep))

        backend = Deep(self, self.clock)
        backend.comfyui, backend.caller = self.backend.comfyui, self.backend.caller
        self.backend = backend
        self.assertEqual((self.check(job), self.check(broken)), (ERROR, WORKING))
        self.failureResultOf(self.stop(broken), UnexpectedResponse)
        self.clock.pump([1.0] * 10)
        self.assertEqual(self.check(broken), DONE)

    def test_very_long(self) -> None:
        """Of a queue or history that is too long only the beginning is read. That loses no job."""
        limit = 200

        class Long(ComfyUIBackend):
            async def ask(self, method: str, path: str, value: object = None) -> EngineResponse:
                answer = await super().ask(method, path, value)
                return EngineResponse(answer.status, answer.body[:limit], len(answer.body) <= limit)

        backend = Long(self, self.clock)
        self.backend, self.queue = backend, backend.comfyui.queue
        first, second = self.begin(), self.begin(4)
        for _ in range(2 * QUEUE_TURNS):
            self.assertEqual((self.check(first), self.check(second)), (WORKING, WORKING))
        self.failureResultOf(self.stop(second), UnexpectedResponse)
        self.clock.pump([1.0] * 30)
        self.assertEqual((self.check(first), self.check(second)), (DONE, DONE))

    def test_odd_ids(self) -> None:
        """A job whose id cannot be asked for is followed by the queue alone, and has no result in the end."""
        for name in ("cut \ud83d", "x" * 5000, "a/../b"):
            job = self.begin(prompt_id=name)
            self.assertEqual(self.check(job), WORKING)
            self.clock.pump([1.0] * 10)
            self.assertEqual(self.check(job), ERROR)
            self.queue.forget()
        job = self.begin(prompt_id="é?#")
        self.assertEqual(self.check(job), WORKING)
        self.assertIn(("/history/%C3%A9%3F%23", None), self.backend.did("GET"))
        self.clock.pump([1.0] * 10)
        self.assertEqual(self.check(job), DONE)

    def test_large_history(self) -> None:
        """Of an entry with a whole workflow and its pictures only the status is read."""
        job = self.begin()
        self.clock.pump([1.0] * 8)
        entry = self.queue.history[job.name]
        entry["prompt"][2]["6"]["inputs"]["text"] = "x" * 1_000_000
        self.assertEqual(self.check(job), DONE)
        self.assertGreater(len(json.dumps(self.queue.history)), 1_000_000)


class Stopping(ComfyUICase):
    def test_waiting(self) -> None:
        """A waiting job is taken out of the queue; the one that runs goes on."""
        first, second = self.begin(), self.begin(4)
        done = self.stop(second)
        self.assertNoResult(done)
        self.clock.advance(0.25)
        self.successResultOf(done)
        self.assertEqual(self.backend.did("POST"), [("/queue", {"delete": [second.name]})])
        self.clock.pump([1.0] * 8)
        self.assertEqual((self.check(first), self.check(second)), (DONE, GONE))

    def test_running(self) -> None:
        """The running job is interrupted once, and is stopped when it has left the queue."""
        job = self.begin(30)
        done = self.stop(job)
        self.clock.pump([0.25] * 3)
        self.assertNoResult(done)
        self.clock.pump([0.25] * 3)
        self.successResultOf(done)
        self.assertEqual(self.queue.interrupts, 1)
        self.assertEqual(self.check(job), ERROR)

    def test_ended(self) -> None:
        """A job that has ended is left alone, though another one runs."""
        job, other = self.begin(), self.begin(20)
        self.clock.pump([1.0] * 8)
        self.successResultOf(self.stop(job))
        self.assertEqual((self.backend.did("POST"), self.queue.interrupts), ([], 0))
        self.assertEqual(self.check(other), WORKING)

    def test_begins_while_it_is_stopped(self) -> None:
        """A job that began to run before it could be deleted is interrupted."""
        backend = Late(self, self.clock)
        self.backend, self.queue = backend, backend.comfyui.queue
        first, second = self.begin(), self.begin(20)
        self.clock.pump([1.0] * 7)
        done = self.stop(second)
        self.clock.pump([0.25] * 12)
        self.successResultOf(done)
        self.assertEqual([path for path, _ in backend.did("POST")], ["/queue", "/interrupt"])
        self.assertEqual((self.check(first), self.check(second)), (DONE, ERROR))

    def test_old_version_with_others(self) -> None:
        """A version that interrupts whatever runs is not asked to while another job waits: it might run by then."""
        self.backend.comfyui.version = "0.3.40"
        first, second = self.begin(), self.begin(4)
        done = self.stop(first)
        self.clock.pump([0.25] * 8)
        self.assertEqual(self.queue.interrupts, 0)
        self.clock.pump([0.25] * 32)
        self.successResultOf(done)
        self.assertEqual(self.check(first), DONE)
        self.clock.pump([1.0] * 9)
        self.assertEqual(self.check(second), DONE)

    def test_old_version_alone(self) -> None:
        """Where no other job is, an old version's interrupt can only end this one."""
        self.backend.comfyui.version = "0.3.40"
        job = self.begin(30)
        done = self.stop(job)
        self.clock.pump([0.25] * 5)
        self.successResultOf(done)
        self.assertEqual(self.queue.interrupts, 1)

    def test_versions(self) -> None:
        """With others in the queue, only versions that surely take an id are asked to interrupt."""
        for version, interrupts in (("0.3.75", 1), ("0.3.64", 1), ("0.4.0", 1), ("0.3.63", 0), ("v1.0.1-dev", 1)):
            backend = ComfyUIBackend(self, self.clock)
            backend.comfyui.version = version.lstrip("v").split("-")[0]
            job = ComfyUIJob(backend.begin(30))
            self.clock.advance(0)
            backend.begin(4)
            stopping = self.stop_at(job, backend)
            self.clock.pump([0.25] * 5)
            self.assertEqual(backend.comfyui.queue.interrupts, interrupts, version)
            stopping.addErrback(lambda failure: None)
            stopping.cancel()

    def stop_at(self, job: ComfyUIJob, backend: ComfyUIBackend) -> Deferred[None]:
        return Deferred.fromCoroutine(job.stop(backend))

    def test_same_id_twice(self) -> None:
        """Where two jobs have the id, one may be another caller's: none is stopped."""
        job = self.begin(prompt_id="mine")
        self.begin(4, prompt_id="mine")
        self.failureResultOf(self.stop(job), UnexpectedResponse)
        self.assertEqual(self.backend.did("POST"), [])

    def test_by_response(self) -> None:
        """What a request began is known by its response. One that began nothing needs no stop."""
        stop = ComfyUI().begin(EngineRequest("POST", "/prompt"))
        assert stop is not None
        self.assertTrue(stop.needs_response)
        for answer in (None, EngineResponse(400, b"{}")):
            self.successResultOf(Deferred.fromCoroutine(stop.stop(self.backend, answer)))
        self.assertEqual(self.backend.asked, [])
        response = self.backend.queue(9)
        self.clock.advance(0)
        done = Deferred.fromCoroutine(stop.stop(self.backend, EngineResponse(200, response.body)))
        self.clock.pump([0.25] * 5)
        self.successResultOf(done)
        self.assertEqual(self.queue.remaining, 0)
