"""`vespa-proxy benchmark`: its bar in memory, and the command as a process."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.checking.test_command import FullPipe
from tests.processes import ProcessCase
from tests.simulator_support.deployment import ControlledDeployment
from vespa.benchmarking.cache import BenchmarkCache
from vespa.benchmarking.contract import Figure, Level
from vespa.benchmarking.key import cache_key
from vespa.benchmarking.process import BenchmarkError
from vespa.checking import benchmark_command
from vespa.checking.benchmark_command import Bar, Command, main
from vespa.config.benchmark import read
from vespa.config.commands import BENCHMARK as BENCHMARK_LINE
from vespa.simulator.child import Child
from vespa.simulator.launch import free_port

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


class FakeRunner:
    """Runs no benchmark: it prints a line, has two levels, and ends with a figure or with `error`."""

    error: BaseException | None = None

    def __init__(self, *_: object) -> None:
        pass

    async def run(
        self,
        spec: str,
        backend_url: str,
        *,
        on_progress: Callable[[str], None],
        on_level: Callable[[Level], None],
        on_share: Callable[[float], None],
        **_: object,
    ) -> Figure:
        on_progress(f"measuring {backend_url}")
        on_level(Level(4, 100.0, 0.05, "images", 8, 0, 1.0))
        on_share(0.5)
        on_level(Level(8, 150.0, None, "images", 16, 1, 1.0))
        if self.error is not None:
            raise self.error
        return Figure(150.0, 8)


class MainTests(TestCase):
    """The command in this process, without the benchmark's."""

    timeout = 30

    def setUp(self) -> None:
        self.patch(benchmark_command, "Runner", FakeRunner)
        self.folder = os.path.abspath(self.mktemp())
        os.mkdir(self.folder)
        self.cache = os.path.join(self.folder, "result")
        self.url = f"http://127.0.0.1:{free_port()}"
        self.out: io.StringIO = io.StringIO()
        self.complaints: list[str] = []
        self.said: list[str] = []
        self.terminal = Lines()

    def command(self, *arguments: str, **more: str) -> Command:
        environ = {
            "VESPA_BACKEND_URL": self.url,
            "VESPA_BENCHMARK": "somewhere:benchmark",
            "VESPA_BENCHMARK_CACHE_FILE": self.cache,
            "MODEL_NAME": "the-model",
            **more,
        }
        return Command(
            reactor,
            read(BENCHMARK_LINE.parse(arguments), environ),
            environ,
            out=self.out,
            complain=self.complaints.append,
            say=self.said.append,
            bar=Bar(reactor, self.terminal),
        )

    def end_with(self, error: BaseException) -> None:
        self.patch(FakeRunner, "error", error)

    async def test_table(self) -> None:
        """The benchmark's lines, the bar, a table of the levels, and what a worker would report; nothing is kept."""
        self.assertEqual(await self.command().main(), 0)
        self.assertEqual(self.said, [f"measuring {self.url}"])
        self.assertIn("A worker would report 150.0 images/s with 8 requests at once", self.out.getvalue())
        self.assertRegex(self.out.getvalue(), r"8  150\.0 images/s +- +16 +1 +1\.0  <- reported")
        self.assertEqual((self.terminal.shown[-1], self.complaints, os.listdir(self.folder)), ("", [], []))

    async def test_json(self) -> None:
        """As JSON it is one object."""
        self.assertEqual(await self.command("--json").main(), 0)
        found = json.loads(self.out.getvalue())
        self.assertEqual([level["concurrency"] for level in found["levels"]], [4, 8])

    async def test_several(self) -> None:
        """Several backends are measured in turn: a table for each, and their sum; a file keeps the result of each."""
        urls = [self.url, f"http://127.0.0.1:{free_port()}"]
        both = ",".join(urls)
        self.assertEqual(await self.command("--save", VESPA_BACKEND_URL=both).main(), 0)
        self.assertEqual(self.said, [f"measuring {url}" for url in urls])
        shown = self.out.getvalue()
        for url in urls:
            self.assertIn(f"\n{url}\n", shown)
            key = cache_key("somewhere:benchmark", url, {"MODEL_NAME": "the-model"})
            self.assertEqual(BenchmarkCache(self.cache, key, urls).load(), 150.0)
        self.assertEqual(shown.count("This backend does 150.0 images/s with 8 requests at once."), 2)
        self.assertIn("A worker would report 300.0 images/s for 2 backends together, as max_perf.", shown)
        self.out = io.StringIO()
        self.assertEqual(await self.command("--json", VESPA_BACKEND_URL=both).main(), 0)
        found = json.loads(self.out.getvalue())
        self.assertEqual((found["throughput"], [each["backend"] for each in found["backends"]]), (300.0, urls))

    async def test_one_of_several_fails(self) -> None:
        """The others are still measured, and the exit code is 1."""
        self.end_with(BenchmarkError("it failed"))
        self.assertEqual(await self.command(VESPA_BACKEND_URL=f"{self.url} http://127.0.0.1:9").main(), 1)
        self.assertEqual(len(self.complaints), 2)
        self.assertEqual(self.out.getvalue(), "")

    async def test_saved(self) -> None:
        """The result is kept where the worker looks for it."""
        self.assertEqual(await self.command("--save").main(), 0)
        key = cache_key("somewhere:benchmark", self.url, {"MODEL_NAME": "the-model"})
        self.assertEqual(BenchmarkCache(self.cache, key).load(), 150.0)
        self.assertIn(self.cache, self.out.getvalue())

    async def test_not_saved(self) -> None:
        """A file that cannot be written is an error, after the result."""
        self.assertEqual(await self.command("--save", VESPA_BENCHMARK_CACHE_FILE=self.folder).main(), 1)
        self.assertIn(f"could not be kept in VESPA_BENCHMARK_CACHE_FILE={self.folder}", self.complaints[0])
        self.assertIn("150.0 images/s", self.out.getvalue())

    async def test_failures(self) -> None:
        """A benchmark that fails is the exit code 1, with its reason and the backend."""
        for error, said in (
            (BenchmarkError("it failed"), "it failed (the backend is "),
            (ValueError(), "ValueError (the backend is "),
        ):
            self.end_with(error)
            self.assertEqual(await self.command().main(), 1)
            self.assertEqual(self.complaints.pop(), f"{said}{self.url})")
        self.assertEqual((self.out.getvalue(), self.terminal.shown[-1]), ("", ""))

    async def test_interrupted(self) -> None:
        """A signal is the exit code 130, without a word."""
        self.end_with(CancelledError())
        self.assertEqual(await self.command().main(), 130)
        self.assertEqual((self.out.getvalue(), self.complaints, self.terminal.shown[-1]), ("", [], ""))

    async def test_full_disk(self) -> None:
        """A result that cannot be written is an error."""
        self.out = FullPipe()
        self.assertEqual(await self.command().main(), 1)
        self.assertIn("cannot write to standard output", self.complaints[0])


class MistakesTests(SynchronousTestCase):
    def test_mistakes(self) -> None:
        """Without a backend the command ends before it has a reactor."""
        errors = io.StringIO()
        self.patch(sys, "stderr", errors)
        self.patch(os, "environ", {"VESPA_BENCHMARK": "somewhere:benchmark"})
        self.assertEqual(main([]), 2)
        self.assertIn("vespa-proxy benchmark: ", errors.getvalue())
        self.assertIn("VESPA_BACKEND_URL", errors.getvalue())


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
