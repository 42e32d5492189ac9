"""The LLM benchmark in its own process, against the simulator's model over TCP."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase
from twisted.web.server import Site

from vespa.benchmarking.contract import Figure
from vespa.benchmarking.runner import run
from vespa.sim.backend import Backend

TOKENS = 60
LOAD = '''
import asyncio, json, time

async def benchmark(url, session):
    """Eight callers, each with four whole requests, one after the other."""
    async def caller():
        tokens = 0
        for _ in range(4):
            asked = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 60, "stream": True,
                     "stream_options": {"include_usage": True}}
            async with session.post("/v1/chat/completions", json=asked) as response:
                async for line in response.content:
                    if b'"usage": {' in line or b'"usage":{' in line:
                        tokens += json.loads(line[5:])["usage"]["completion_tokens"]
        return tokens
    began = time.perf_counter()
    tokens = sum(await asyncio.gather(*[caller() for _ in range(8)]))
    return tokens / (time.perf_counter() - began)
'''


class SimulatedTests(TestCase):
    timeout = 120

    async def measured(self, spec: str, url: str, lines: list[str]) -> Figure:
        environment = {name: os.environ[name] for name in ("PATH", "COVERAGE_PROCESS_START") if name in os.environ}
        return await Deferred.fromCoroutine(
            run(
                spec,
                url,
                spawner=reactor,
                clock=reactor,
                timeout=60.0,
                environment={**environment, "BENCHMARK_CONCURRENCY": "8", "BENCHMARK_MAX_TOKENS": str(TOKENS)},
                on_progress=lines.append,
            )
        )

    async def test_figure(self) -> None:
        """The figure is that of an independent load at the level that is named, and the progress tells the levels."""
        backend = Backend(reactor, tokens_per_second=40.0)  # type: ignore[arg-type]
        port = reactor.listenTCP(0, Site(backend.resource()), interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        url = f"http://127.0.0.1:{port.getHost().port}"
        lines: list[str] = []
        figure = await self.measured("benchmarks.openai_chat:benchmark", url, lines)
        file = Path(self.mktemp() + ".py").absolute()
        file.write_text(LOAD)
        load = await self.measured(f"{file}:benchmark", url, [])
        self.assertEqual(figure.concurrency, 8)
        self.assertLess(abs(figure / load - 1.0), 0.2, (float(figure), float(load), lines))
        self.assertIn("chosen: ", lines[-1])
        self.assertEqual(sum(" at once: " in line for line in lines), 2)
