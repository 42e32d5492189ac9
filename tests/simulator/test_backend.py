"""Tests of `vespa.simulator.backend` in memory."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.simulator_support.backend import ControlledBackend
from tests.simulator_support.caller import Caller, Response
from vespa.simulator.backend import SimulatedBackend
from vespa.simulator.completions import COMPLETION_TEXT

CHAT: dict[str, Any] = {"model": "any", "messages": [{"role": "user", "content": "two words"}]}
WORDS = len(COMPLETION_TEXT.split())


class BackendTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.backend = SimulatedBackend(self.clock, tokens_per_second=10.0)
        self.caller = Caller(self, self.backend.resource())

    def generate(self, path: str, asked: dict[str, Any], seconds: float = 100.0) -> Response:
        started = self.caller.start("POST", path, json.dumps(asked).encode())
        self.caller.stub.flush()
        for _ in range(int(seconds / 0.1)):
            self.clock.advance(0.1)
            self.caller.stub.flush()
        return self.caller.finish(started)

    def events(self, path: str, asked: dict[str, Any]) -> list[Any]:
        response = self.generate(path, {**asked, "stream": True})
        self.assertEqual((response.status, response.content_type), (200, "text/event-stream"))
        *events, done, end = response.body.split(b"\n\n")
        self.assertEqual((done, end), (b"data: [DONE]", b""))
        return [json.loads(event.removeprefix(b"data: ")) for event in events]

    def test_health(self) -> None:
        """Health is 200."""
        self.assertEqual(self.caller.ask("GET", "/health").status, 200)

    def test_models(self) -> None:
        """One model is listed."""
        self.assertEqual(len(self.caller.ask("GET", "/v1/models").json["data"]), 1)

    def test_plain_chat(self) -> None:
        """A plain response comes after the time its words take, with the tokens counted."""
        answer = self.generate("/v1/chat/completions", CHAT).json
        self.assertEqual(answer["choices"][0]["message"]["content"], COMPLETION_TEXT)
        self.assertEqual(answer["choices"][0]["finish_reason"], "stop")
        self.assertEqual(answer["usage"], {"prompt_tokens": 2, "completion_tokens": WORDS, "total_tokens": WORDS + 2})

    def test_plain_text(self) -> None:
        """A text completion is cut at its limit and says so."""
        answer = self.generate("/v1/completions", {"prompt": "one", "max_tokens": 2}).json
        self.assertEqual(answer["choices"][0]["text"], "Good morning.")
        self.assertEqual(answer["choices"][0]["finish_reason"], "length")

    def test_streamed_chat(self) -> None:
        """The pieces of a stream make the whole response; usage comes last, where it was asked for."""
        events = self.events("/v1/chat/completions", {**CHAT, "stream_options": {"include_usage": True}})
        *deltas, usage = events
        self.assertEqual("".join(e["choices"][0]["delta"].get("content", "") for e in deltas), COMPLETION_TEXT)
        self.assertEqual((usage["choices"], usage["usage"]["completion_tokens"]), ([], WORDS))
        self.assertNotIn("usage", self.events("/v1/chat/completions", CHAT)[-1])

    def test_streamed_text(self) -> None:
        """A text completion streams too."""
        events = self.events("/v1/completions", {"prompt": "x", "max_tokens": 3})
        self.assertEqual("".join(e["choices"][0]["text"] for e in events), "Good morning. The")

    def test_rate(self) -> None:
        """Words come one by one at the set rate."""
        self.backend = ControlledBackend(self.clock, tokens_per_second=10.0)  # which counts
        self.caller = Caller(self, self.backend.resource())
        self.caller.start("POST", "/v1/completions", b'{"prompt": "x", "stream": true}')
        self.caller.stub.flush()
        self.clock.advance(0)
        self.assertEqual(self.backend.stats.pieces, 1)
        self.clock.advance(0.05)
        self.assertEqual(self.backend.stats.pieces, 1)
        self.clock.advance(0.05)
        self.assertEqual(self.backend.stats.pieces, 2)

    def test_bad_requests(self) -> None:
        """What OpenAI's API would refuse is 400 with a message."""
        for body in (b"x", b"[]", b"{}", b'{"messages": [1]}', b'{"messages": [], "max_tokens": 0}'):
            response = self.caller.ask("POST", "/v1/chat/completions", body)
            self.assertEqual((response.status, "message" in response.json["error"]), (400, True), body)

    def test_nothing(self) -> None:
        """An unknown path is 404."""
        self.assertEqual(self.caller.ask("GET", "/nowhere").status, 404)
