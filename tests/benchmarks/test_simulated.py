"""The LLM benchmark in its own process, against the simulator's model over TCP."""

from __future__ import annotations

import os

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase
from twisted.web.server import Site

from tests.benchmarking.children import reactor
from vespa.benchmarking.contract import Figure
from vespa.benchmarking.runner import Runner
from vespa.simulator.backend import SimulatedBackend

TOKENS = 60
TOKENS_PER_SECOND = 40.0
"""Of each of the model's streams."""


class SimulatedTests(TestCase):
    timeout = 120
    slow = True

    async def measured(self, spec: str, url: str, lines: list[str]) -> Figure:
        environment = {name: os.environ[name] for name in ("PATH", "COVERAGE_PROCESS_START") if name in os.environ}
        environment.update(BENCHMARK_CONCURRENCY="8", BENCHMARK_MAX_TOKENS=str(TOKENS))
        runner = Runner(reactor, reactor, environment)
        return await Deferred.fromCoroutine(runner.run(spec, url, timeout=60.0, on_progress=lines.append))

    async def test_figure(self) -> None:
        """The figure is of the level that is named, not above what its streams can give; the levels are told.

        How near it comes is counted with the model's clock in tests.benchmarks.test_climb, as a busy machine is slower.
        """
        backend = SimulatedBackend(reactor, tokens_per_second=TOKENS_PER_SECOND)
        port = reactor.listenTCP(0, Site(backend.resource()), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        url = f"http://127.0.0.1:{port.getHost().port}"
        lines: list[str] = []
        figure = await self.measured("benchmarks.openai_chat:benchmark", url, lines)
        self.assertEqual(figure.concurrency, 8)
        self.assertGreater(figure, 0.0)
        self.assertLess(figure, 1.5 * 8 * TOKENS_PER_SECOND, lines)
        self.assertIn("chosen: ", lines[-1])
        self.assertEqual(sum(" at once: " in line for line in lines), 2)
