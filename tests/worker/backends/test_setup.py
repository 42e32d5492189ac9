from __future__ import annotations

import os
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from vespa.accounting.backend_queue import BackendQueue
from vespa.benchmarking.cache import BenchmarkCache
from vespa.benchmarking.contract import Figure
from vespa.benchmarking.key import cache_key
from vespa.config.worker_reading import load
from vespa.worker.backends.setup import backend_parts, total_of

URLS = ("http://127.0.0.1:1", "http://127.0.0.1:2")
BENCHMARK = "benchmarks.openai_chat:benchmark"


class SeveralTests(SynchronousTestCase):
    def gate(self, **figures: float) -> BackendQueue[Any]:
        """The gate of a worker whose backends have these figures in the file, and are well at once."""
        path = os.path.abspath(self.mktemp())
        for name, figure in figures.items():
            BenchmarkCache(path, cache_key(BENCHMARK, URLS[int(name[-1])], {}), URLS).save(figure)
        settings = load(
            {
                "VESPA_UNSECURED": "true",
                "VESPA_BACKEND_URL": ",".join(URLS),
                "VESPA_HEALTHCHECK_ENDPOINT": "off",
                **({"VESPA_BENCHMARK": BENCHMARK, "VESPA_BENCHMARK_CACHE_FILE": path} if figures else {}),
            }
        )
        parts = backend_parts(Clock(), settings, {}, lambda throughput: None)
        assert parts.several is not None
        parts.several.startService()
        self.addCleanup(parts.several.stopService)
        gate = parts.upstreams.gate
        assert isinstance(gate, BackendQueue)
        return gate

    def test_speeds(self) -> None:
        """The gate knows how fast each backend was measured."""
        gate = self.gate(of_0=100.0, of_1=400.0)
        self.assertEqual(gate.throughput, 500.0)
        self.assertEqual([each.throughput for each in gate.backends], [100.0, 400.0])
        self.assertEqual([each.slowness for each in gate.backends], [4.0, 1.0])

    def test_not_measured(self) -> None:
        """Without a benchmark, backends are taken for equally fast."""
        gate = self.gate()
        self.assertEqual([each.throughput for each in gate.backends], [None, None])
        self.assertEqual([each.slowness for each in gate.backends], [1.0, 1.0])


class TotalTests(SynchronousTestCase):
    def test_together(self) -> None:
        """Figures and their concurrency are summed; the model is that of all, if it is one."""
        total = total_of([Figure(10.0, 4, "m"), Figure(30.0, 8, "m")])
        self.assertEqual((float(total), total.concurrency, total.served), (40.0, 12, "m"))
        self.assertEqual(total_of([Figure(1.0, 1, "m"), Figure(1.0, 1, "n"), 1.0]).served, "")
