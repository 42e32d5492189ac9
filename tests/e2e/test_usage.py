"""The tokens that llama.cpp reports are the served work: in JSON, in streams, in its own forms and in OpenAI's."""

from __future__ import annotations

import json
from typing import Any, Final

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol

from tests.e2e.callers import CallerCase
from tests.e2e.clients import need
from tests.processes import until
from tests.simulator_support.wire import Wire
from vespa.accounting.workload import MICROS

COST: Final = 500.0
MESSAGES: Final = [{"role": "user", "content": "Once upon a time"}]
COMMON: Final = {"model": "noise", "ignore_eos": True, "cache_prompt": False}
USAGE: Final = {"stream": True, "stream_options": {"include_usage": True}}

REQUESTS: Final[list[tuple[str, int, dict[str, Any]]]] = [
    ("/v1/completions", 7, {"prompt": "Once", "max_tokens": 7}),
    ("/v1/completions", 8, {"prompt": "Once", "max_tokens": 8, **USAGE}),
    ("/v1/completions", 9, {"prompt": "Once", "max_tokens": 9, "stream": True}),
    ("/v1/chat/completions", 10, {"messages": MESSAGES, "max_tokens": 10}),
    ("/v1/chat/completions", 11, {"messages": MESSAGES, "max_tokens": 11, **USAGE}),
    ("/v1/chat/completions", 40, {"messages": MESSAGES, "max_tokens": 40, "timings_per_token": True, "stream": True}),
    ("/completion", 12, {"prompt": "Once", "n_predict": 12}),
    ("/completion", 80, {"prompt": "Once", "n_predict": 80, "stream": True}),
]
"""Routes, the tokens that each generates, and what is asked there. Streams without `usage` have llama.cpp's timings."""


class UsageTests(CallerCase):
    timeout = 300

    def setUp(self) -> None:
        need("xllamacpp")

    async def ask(self, url: str, path: str, payload: dict[str, Any], auth: dict[str, Any] | None = None) -> bytes:
        """What a server answers to a POST; the worker gets an envelope."""
        payload = {**COMMON, **payload}
        body = json.dumps({"auth_data": auth, "payload": payload} if auth is not None else payload).encode()
        host, _, port = url.rpartition("//")[2].partition(":")
        wire: Any = await connectProtocol(TCP4ClientEndpoint(reactor, host, int(port)), Wire())
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
        wire.transport.write(head.encode() + b"Content-Type: application/json\r\n\r\n" + body)
        await wire.lost
        return bytes(wire.received)

    async def served(self, count: int, **settings: Any) -> tuple[float, float]:
        """The work that a worker tells to have received and served, after all requests, each `count` times."""
        llama = await self.start_llama()
        deployment = await self.start_service(llama, VESPA_MAX_WAIT_TIME="100000", **settings)
        worker = deployment.workers[-1]

        async def one(path: str, payload: dict[str, Any]) -> None:
            auth = deployment.autoscaler.assign(worker.url, COST)
            response = await self.ask(worker.url, path, payload, auth)
            self.assertEqual(response[9:12], b"200", response[-300:])

        for _ in range(count):
            await gatherResults(
                [Deferred.fromCoroutine(one(path, payload)) for path, _, payload in REQUESTS], consumeErrors=True
            )
        totals = deployment.autoscaler.totals
        expected = count * len(REQUESTS)
        await until(lambda: len(totals.finished()) == expected and not totals.of(worker.id).in_flight, 20, "all told")
        await until(lambda: totals.of(worker.id).received == expected * COST * MICROS, 20, "received")
        self.assert_clean_log(worker)
        return totals.of(worker.id).received / MICROS, totals.of(worker.id).served / MICROS

    async def test_measured(self) -> None:
        """Each request's served work is what llama.cpp generated for it, and the received work its cost."""
        received, served = await self.served(3, VESPA_USAGE="openai")
        self.assertEqual(received, 3 * len(REQUESTS) * COST)
        self.assertEqual(served, 3 * sum(tokens for _, tokens, _ in REQUESTS))

    async def test_off(self) -> None:
        """Without the setting it is the cost."""
        received, served = await self.served(1)
        self.assertEqual((received, served), (len(REQUESTS) * COST, len(REQUESTS) * COST))
