"""The worker's own requests to its backend: as JSON, and with one kind of error."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.fakes import FakeAgent, FakeResponse
from vespa.engines.interface import EngineResponse, NoResponse
from vespa.http.interfaces import UpstreamError
from vespa.runtime.http_client import BoundedClient
from vespa.worker.backend_calls import RESPONSE_MAX, TIMEOUT, BackendCalls


class CallTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.agent = Clock(), FakeAgent()
        self.calls = BackendCalls(BoundedClient(self.agent, self.clock), "http://b:1/prefix")

    def ask(self, *what: Any) -> Deferred[EngineResponse]:
        coroutine: Coroutine[Deferred[Any], Any, EngineResponse] = self.calls.ask(*what)
        return Deferred.fromCoroutine(coroutine)

    def test_answers(self) -> None:
        """A path comes after the base, a value is JSON, and any status is an answer."""
        done = self.ask("POST", "/queue", {"delete": ["é"]})
        (asked,) = self.agent.asked
        self.assertEqual((asked.method, asked.url), ("POST", "http://b:1/prefix/queue"))
        self.assertEqual(asked.body, b'{"delete": ["\\u00e9"]}')
        self.assertEqual(asked.headers.getRawHeaders("Content-Type"), ["application/json"])
        asked.answer(404, b"no")
        self.assertEqual(self.successResultOf(done), EngineResponse(404, b"no"))
        self.ask("GET", "/queue")
        self.assertIsNone(self.agent.asked[1].body)

    def test_no_answer(self) -> None:
        """A refused connection, silence, and half a response are no answers; a refusal is told apart."""
        done = self.ask("GET", "/queue")
        self.agent.asked[-1].fail(UpstreamError("backend_unreachable", "refused", refused=True))
        self.assertTrue(self.failureResultOf(done, NoResponse).value.refused)
        done = self.ask("GET", "/queue")
        self.clock.advance(TIMEOUT)
        self.assertFalse(self.failureResultOf(done, NoResponse).value.refused)
        done = self.ask("GET", "/queue")
        self.agent.asked[-1].answer(200, b"{")
        self.assertEqual(self.successResultOf(done), EngineResponse(200, b"{"))

    def test_long(self) -> None:
        """Of a response that is too long the beginning is an answer; one that breaks off is none."""
        done = self.ask("GET", "/queue")
        self.agent.asked[-1].answer(200, bytes(RESPONSE_MAX), b"x")
        answer = self.successResultOf(done)
        self.assertEqual((len(answer.body), answer.whole), (RESPONSE_MAX, False))
        done = self.ask("GET", "/queue")
        self.agent.asked[-1].result.callback(FakeResponse(200, b"{", end=ConnectionLost()))
        self.failureResultOf(done, NoResponse)

    def test_pause(self) -> None:
        """It waits on the clock."""
        coroutine: Coroutine[Deferred[Any], Any, None] = self.calls.pause(3.0)
        done = Deferred.fromCoroutine(coroutine)
        self.clock.advance(2.9)
        self.assertNoResult(done)
        self.clock.advance(0.2)
        self.successResultOf(done)
