"""`vespa-proxy benchmark`: its bar in memory, and the command as a process."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.processes import ProcessCase
from tests.simulator_support.deployment import ControlledDeployment
from vespa.benchmarking.cache import BenchmarkCache
from vespa.benchmarking.contract import Level
from vespa.benchmarking.key import cache_key
from vespa.checking.benchmark_command import Bar
from vespa.simulator.child import Child

BENCHMARK = [sys.executable, "-m", "vespa.cli", "benchmark"]
LEVELLED = """
from vespa.benchmarking.contract import Figure, Level, report_level, report_progress

async def benchmark(backend_url, session):
    async with session.get("/health") as response:
        response.raise_for_status()
    print("measuring")
    report_level(Level(4, 100.0, 0.05, "images", 8, 0, 1.0))
    report_progress(0.5)
    report_level(Level(8, 150.0, None, "images", 16, 1, 1.0))
    return Figure(150.0, 8)
"""
PLAIN = """
async def benchmark(backend_url, session):
    return 12.5
"""


class Lines:
    """A terminal."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def live(self, text: str) -> None:
        self.shown.append(text)

    def write(self, text: str) -> int:
        return len(text)


class BarTests(SynchronousTestCase):
    def test_bar(self) -> None:
        """Without a share only the time is shown; with one a bar that never goes back; at the end nothing."""
        clock, terminal = Clock(), Lines()
        bar = Bar(clock, terminal)
        bar.start()
        self.assertEqual(terminal.shown, ["0 s"])
        bar.on_share(0.5)
        bar.on_share(0.25)
        bar.on_level(Level(4, 160.0, unit="tokens"))
        clock.pump([0.5] * 4)
        self.assertEqual(terminal.shown[-1], "[############............]  50%  2 s  4 at once: 160.0 tokens/s")
        bar.stop()
        self.assertEqual(terminal.shown[-1], "")
        self.assertEqual(clock.getDelayedCalls(), [])


class CommandTests(ProcessCase):
    async def setUp(self) -> None:  # type: ignore[override]
        self.folder = self.temporary_folder()
        self.deployed: ControlledDeployment = self.deployment()
        await self.deployed.start_backend()

    def run_benchmark(self, source: str, *arguments: str, **more: str) -> Child:
        self.path = Path(self.folder, "bench.py")
        self.path.write_text(source)
        environ = {"VESPA_BACKEND_URL": self.deployed.backend_url, "VESPA_BENCHMARK": f"{self.path}:benchmark", **more}
        return self.start([*BENCHMARK, *arguments], environ, folder=self.folder)

    async def test_table(self) -> None:
        """The lines of the benchmark, a table of its levels, and what a worker would report; no file is written."""
        child = self.run_benchmark(LEVELLED)
        self.assertEqual(await self.until_exit(child), 0, child.text)
        self.assertIn("measuring", child.lines)
        self.assertRegex(child.text, r"8  150\.0 images/s +- +16 +1 +1\.0  <- reported")
        self.assertIn("A worker would report 150.0 images/s with 8 requests at once, as max_perf.", child.text)
        self.assertNotIn(".has_benchmark", os.listdir(self.folder))
        self.assert_clean_log(child)

    async def test_json(self) -> None:
        """JSON has standard output to itself."""
        child = self.run_benchmark(LEVELLED, "--json", "--quiet")
        self.assertEqual(await self.until_exit(child), 0, child.text)
        found = json.loads(child.text)
        self.assertEqual((found["throughput"], found["concurrency"], found["unit"]), (150.0, 8, "images"))
        self.assertEqual([each["concurrency"] for each in found["levels"]], [4, 8])

    async def test_save(self) -> None:
        """With --save the worker finds the result; a file that cannot be written is an error."""
        child = self.run_benchmark(PLAIN, "--save")
        self.assertEqual(await self.until_exit(child), 0, child.text)
        path = os.path.join(self.folder, ".has_benchmark")
        self.assertIn(
            f"The result is kept in {os.path.realpath(path)}", child.text.replace(path, os.path.realpath(path))
        )
        key = cache_key(f"{self.path}:benchmark", self.deployed.backend_url, {})
        self.assertEqual(BenchmarkCache(path, key).load(), 12.5)
        child = self.run_benchmark(PLAIN, "--save", VESPA_BENCHMARK_CACHE_FILE="/dev/null")
        self.assertEqual(await self.until_exit(child), 1, child.text)
        self.assertIn("could not be kept in VESPA_BENCHMARK_CACHE_FILE=/dev/null", child.text)

    async def test_failure(self) -> None:
        """A benchmark that fails has exit code 1, its reason, and the backend that it was run against."""
        child = self.run_benchmark("async def benchmark(backend_url, session):\n    raise ValueError('no luck')\n")
        self.assertEqual(await self.until_exit(child), 1, child.text)
        url = self.deployed.backend_url
        self.assertIn("vespa-proxy benchmark: ValueError: no luck", child.text)
        self.assertIn(f"(the backend is {url})", child.text)

    async def test_mistakes(self) -> None:
        """Wrong usage has exit code 2."""
        child = self.run_benchmark(PLAIN, "--fly", VESPA_BACKEND_URL="")
        self.assertEqual(await self.until_exit(child), 2, child.text)
        for said in ("--fly", "VESPA_BACKEND_URL"):
            self.assertIn(said, child.text)

    async def test_interrupted(self) -> None:
        """A signal ends the benchmark and the command."""
        child = self.run_benchmark(
            "import asyncio\nasync def benchmark(u, s):\n    print('on it')\n    await asyncio.sleep(60)\n"
        )
        await self.until_line(child, "on it")
        child.signal("INT")
        self.assertEqual(await self.until_exit(child), 130, child.text)
