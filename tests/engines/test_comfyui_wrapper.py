"""Jobs of the wrapper before ComfyUI are followed and cancelled by its own routes."""

from __future__ import annotations

import json
from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.engines.asking import Asked
from vespa.engines.comfyui_wrapper import ComfyUIWrapper, WrapperJob
from vespa.engines.interface import EngineRequest, EngineResponse, JobState, UnexpectedResponse

WITH_ID = b'{"input": {"request_id": "mine", "modifier": "Text2Image"}}'
CANCELLED = EngineResponse(200, b'{"status": "cancelled"}')


def run(work: object) -> Deferred[Any]:
    coroutine: Coroutine[Deferred[Any], Any, Any] = work  # type: ignore[assignment]
    return Deferred.fromCoroutine(coroutine)


class WrapperTests(SynchronousTestCase):
    def test_job(self) -> None:
        """Only the asynchronous route begins a job."""
        engine = ComfyUIWrapper()
        self.assertTrue(engine.may_begin("POST", "/generate"))
        self.assertFalse(engine.may_begin("POST", "/generate/sync"))
        self.assertFalse(engine.may_begin("GET", "/generate"))
        request = EngineRequest("POST", "/generate")
        job = engine.job(request, EngineResponse(202, b'{"id": "abc", "status": "pending"}'))
        assert job is not None
        self.assertEqual(job.name, "abc")
        for answer in (
            EngineResponse(500, b'{"id": "abc"}'),
            EngineResponse(202, b'{"id": 7}'),
            EngineResponse(202, b'{"id": "\\ud800"}'),
            EngineResponse(202, b"[]"),
            EngineResponse(202),
        ):
            self.assertIsNone(engine.job(request, answer))
        for path, expected in (("/result/abc", True), ("/queue-info", True), ("/health", False), ("/cancel/a", False)):
            self.assertEqual(engine.is_poll(path), expected, path)
        for method, path, expected in (("POST", "/cancel/a", True), ("GET", "/cancel/a", False), ("POST", "/x", False)):
            self.assertEqual(engine.is_cancel(method, path), expected, (method, path))

    def test_states(self) -> None:
        """The result's status is the job's."""
        for status, state in (
            ("pending", JobState.WORKING),
            ("generating", JobState.WORKING),
            ("generated", JobState.WORKING),
            ("completed", JobState.DONE),
            ("failed", JobState.ERROR),
            ("timeout", JobState.ERROR),
            ("cancelled", JobState.ERROR),
            ([], JobState.WORKING),
            (None, JobState.WORKING),
        ):
            backend = Asked(result__abc=EngineResponse(200, json.dumps({"id": "abc", "status": status}).encode()))
            self.assertIs(self.successResultOf(run(WrapperJob("abc").check(backend))), state)
        self.assertIs(self.successResultOf(run(WrapperJob("a/b").check(backend))), JobState.GONE)
        self.assertEqual(backend.asked[-1][1], "/result/a%2Fb")
        for answer in (EngineResponse(500), EngineResponse(200, b"[]")):
            self.failureResultOf(run(WrapperJob("abc").check(Asked(result__abc=answer))), UnexpectedResponse)

    def test_cancel(self) -> None:
        """A request with an id of its own is cancelled by it, at every route; another one by its response."""
        engine, cancel = ComfyUIWrapper(), ("POST", "/cancel/mine", None)
        for path in ("/generate", "/generate/sync", "/generate/stream"):
            stop = engine.begin(EngineRequest("POST", path, WITH_ID))
            assert stop is not None
            self.assertFalse(stop.needs_response)
            backend = Asked(cancel__mine=CANCELLED)
            self.successResultOf(run(stop.stop(backend, None)))
            self.assertEqual(backend.asked, [cancel])
        for payload in (b'{"input": {}}', b'{"input": {"request_id": "a\\ud800"}}', b"[]", b"", None):
            self.assertIsNone(engine.begin(EngineRequest("POST", "/generate/sync", payload)))
            stop = engine.begin(EngineRequest("POST", "/generate", payload))
            assert stop is not None
            self.assertTrue(stop.needs_response)
            for answer in (EngineResponse(202, b'{"id": "mine"}'), EngineResponse(503), None):
                self.successResultOf(run(stop.stop(backend, answer)))
        self.assertEqual(backend.asked, [cancel] * 6)
        self.assertIsNone(engine.begin(EngineRequest("GET", "/result/mine")))

    def test_cannot_be_cancelled(self) -> None:
        """An id that the wrapper does not know (any more) needs no cancel; an error is told."""
        self.successResultOf(run(WrapperJob("mine").stop(Asked())))
        self.failureResultOf(run(WrapperJob("mine").stop(Asked(cancel__mine=EngineResponse(500)))), UnexpectedResponse)
