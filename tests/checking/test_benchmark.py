"""Tests of `vespa.checking.benchmark`."""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.benchmarking.fake_process import FakeSpawner
from vespa.benchmarking.cache import BenchmarkCache
from vespa.benchmarking.contract import Figure
from vespa.benchmarking.key import cache_key
from vespa.benchmarking.runner import Runner
from vespa.checking.benchmark import check_benchmark, check_cache
from vespa.checking.finding import Finding
from vespa.config.worker import WorkerSettings

SPEC = "benchmarks.openai_chat:benchmark"


class ImportTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.spawner = FakeSpawner()

    def check(self, **settings: Any) -> Deferred[list[Finding]]:
        values: dict[str, Any] = {"benchmark": SPEC, **settings}
        runner = Runner(self.spawner, self.clock, {})
        return Deferred.fromCoroutine(check_benchmark(runner, self.clock, WorkerSettings(**values)))

    def answered(self, **answer: object) -> Finding:
        result = self.check()
        self.spawner.process.says(1, b"a line\n" * 20)
        self.spawner.process.answers(**answer)
        self.spawner.process.exits()
        (found,) = self.successResultOf(result)
        return found

    def test_importable(self) -> None:
        """A benchmark that can be imported is right."""
        found = self.answered(checked=True)
        self.assertEqual((found.state, f"{SPEC} can be imported" in found.why), ("ok", True))

    def test_wrong(self) -> None:
        """One that cannot is a failure with the reason and the beginning of what it printed."""
        found = self.answered(error="no module named x")
        self.assertEqual((found.state, found.why), ("failed", "no module named x"))
        self.assertEqual(found.details["output"], ["a line"] * 5)

    def test_slow(self) -> None:
        """An import that takes long is a warning."""
        result = self.check(benchmark_timeout=5.0)
        self.clock.advance(5.0)
        self.spawner.process.exits(None, 15)
        (found,) = self.successResultOf(result)
        self.assertEqual((found.state, "within 5 s" in found.why), ("warning", True))

    def test_none(self) -> None:
        """Only an unsecured worker may have none; for others the settings say what is missing."""
        (found,) = self.successResultOf(self.check(benchmark="", unsecured=True))
        self.assertEqual(found.state, "ok")
        self.assertEqual(self.successResultOf(self.check(benchmark="")), [])


class CacheTests(SynchronousTestCase):
    def test_kept(self) -> None:
        """A kept result that fits is shown with its file; without one the worker measures."""
        path = os.path.abspath(self.mktemp())
        cache = BenchmarkCache(path, cache_key(SPEC, "http://a", {}))
        (found,), throughput = check_cache(cache)
        self.assertEqual((found.state, throughput), ("ok", 0.0))
        self.assertIn("the worker measures", found.why)
        cache.save(Figure(250.0, 16))
        (found,), throughput = check_cache(cache)
        self.assertEqual(throughput, 250.0)
        self.assertIn(f"250.0 units/s with 16 requests at once is kept in {path}", found.why)
        (found,), throughput = check_cache(BenchmarkCache(path, cache_key(SPEC, "http://b", {})))
        self.assertEqual(throughput, 0.0)
