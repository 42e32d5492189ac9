"""Short streams of llama.cpp's, whose server closes the connection a millisecond after each: all arrive, none twice."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol

from tests.e2e.callers import CallerCase
from tests.e2e.clients import need
from tests.simulator_support.wire import Wire

STREAMS = int(os.environ.get("VESPA_LLAMA_STREAMS", "300"))
"""For each number at a time; more than this for a longer run by hand."""
AT_ONCE = (1, 4, 10)
TOKENS = 10
PAYLOAD = {
    "model": "noise",
    "prompt": "Once upon a time",
    "stream": True,
    "max_tokens": TOKENS,
    "ignore_eos": True,
    "cache_prompt": False,
}
WORKS = ("prompt_tokens_total", "tokens_predicted_total")

Body = Callable[[], bytes]


def request(body: bytes) -> bytes:
    head = f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"Content-Type: application/json\r\n\r\n" + body


def verdict(response: bytes) -> str:
    """`whole`, or what was wrong."""
    status = response[9:12]
    if status != b"200":
        return f"{status.decode('ascii', 'replace')}: {response[-200:]!r}"
    return "whole" if b"data: [DONE]" in response and response.endswith(b"0\r\n\r\n") else f"cut: {response[-100:]!r}"


class LlamaCase(CallerCase):
    """Asks llama.cpp, and what is before it, and reads what llama.cpp counted."""

    async def ask(self, url: str, data: bytes) -> bytes:
        host, _, port = url.rpartition("//")[2].partition(":")
        wire: Any = await connectProtocol(TCP4ClientEndpoint(reactor, host, int(port)), Wire())
        wire.transport.write(data)
        await wire.lost
        return bytes(wire.received)

    async def work(self, llama: str) -> dict[str, int]:
        """What llama.cpp counted: it knows of each prompt that it read, also where nobody took the response."""
        metrics = await self.ask(llama, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        found = dict(re.findall(r"^llamacpp:(\w+) (\d+)", metrics.decode(), re.M))
        return {name: int(found[name]) for name in WORKS}


class LlamaStreamTests(LlamaCase):
    timeout = 600

    def setUp(self) -> None:
        need("xllamacpp")

    async def streams(self, url: str, body: Body, at_once: int) -> Counter[str]:
        verdicts: Counter[str] = Counter()
        numbers: Iterator[int] = iter(range(STREAMS))

        async def one_by_one() -> None:
            for _ in numbers:
                verdicts[verdict(await self.ask(url, request(body())))] += 1

        await gatherResults([Deferred.fromCoroutine(one_by_one()) for _ in range(at_once)], consumeErrors=True)
        return verdicts

    async def served(self, llama: str, url: str, body: Body) -> None:
        """All streams come whole, and the server has worked on each once."""
        before = await self.work(llama)
        self.assertEqual(verdict(await self.ask(llama, request(json.dumps(PAYLOAD).encode()))), "whole")
        after = await self.work(llama)
        each = {name: after[name] - before[name] for name in WORKS}
        self.assertEqual(each["tokens_predicted_total"], TOKENS)
        self.assertGreater(each["prompt_tokens_total"], 0)
        for at_once in AT_ONCE:
            before = await self.work(llama)
            self.assertEqual(await self.streams(url, body, at_once), {"whole": STREAMS}, f"{at_once} at a time")
            after = await self.work(llama)
            done = {name: (after[name] - before[name]) / each[name] for name in WORKS}
            self.assertEqual(done, dict.fromkeys(WORKS, STREAMS), f"{at_once} at a time")

    async def test_worker(self) -> None:
        """Through the worker, each stream arrives and each prompt is worked on once."""
        llama = await self.start_llama()
        deployment = await self.start_service(llama)

        def body() -> bytes:
            auth = deployment.autoscaler.assign(deployment.workers[-1].url, 10.0)
            return json.dumps({"auth_data": auth, "payload": PAYLOAD}).encode()

        await self.served(llama, deployment.workers[-1].url, body)
        assert deployment.worker is not None
        self.assert_clean_log(deployment.worker)

    async def test_client_and_worker(self) -> None:
        """The same through client and worker."""
        llama = await self.start_llama()
        deployment, client = await self.start_chain(backend_url=llama)
        await self.served(llama, client.url, lambda: json.dumps(PAYLOAD).encode())
        self.assert_clean(deployment)
