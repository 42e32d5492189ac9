"""`vespa-proxy benchmark`: measures a backend as a worker does, and shows how the figure came about."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TextIO

from twisted.internet.defer import CancelledError
from twisted.internet.task import LoopingCall

from vespa import __version__
from vespa.benchmarking.cache import BenchmarkCache
from vespa.benchmarking.contract import Figure, Level
from vespa.benchmarking.key import cache_key
from vespa.benchmarking.process import BenchmarkError
from vespa.benchmarking.runner import Runner
from vespa.checking.benchmark_table import Measured, plain_table, sentences, several_to_json, sum_of, to_json
from vespa.checking.live import Live, live_terminal
from vespa.config.benchmark import BenchmarkReading, read
from vespa.config.commands import BENCHMARK
from vespa.config.reader import SettingsError
from vespa.protocol.urls import BaseURL
from vespa.runtime import process
from vespa.runtime.standard_streams import OutputError, put, writable
from vespa.worker.access import backend_access

WRONG_USAGE: Final = 2
INTERRUPTED: Final = 130
LEVELS_MAX: Final = 1000  # the levels that are kept, the first ones
REDRAW_SECONDS: Final = 0.5
_BAR: Final = 24  # characters


class Bar:
    """The progress of one measurement on a terminal: a bar if the benchmark tells, else only the time."""

    def __init__(self, reactor: Any, terminal: Live) -> None:
        self._clock = reactor
        self._terminal = terminal
        self._began = reactor.seconds()
        self._share: float | None = None
        self._level = ""
        self._loop = LoopingCall(self.draw)
        self._loop.clock = reactor

    def start(self) -> None:
        """Draw, again and again."""
        self._loop.start(REDRAW_SECONDS)

    def stop(self) -> None:
        """Remove the line."""
        self._loop.stop()
        self._terminal.live("")

    def on_share(self, share: float) -> None:
        """So much of the longest time is over."""
        self._share = max(share, self._share or 0.0)

    def on_level(self, level: Level) -> None:
        """A part is done."""
        self._level = f"  {level.concurrency} at once: {level.throughput:.1f} {level.unit}/s"

    def draw(self) -> None:
        """Draw once."""
        seconds = self._clock.seconds() - self._began
        bar = ""
        if self._share is not None:
            full = round(self._share * _BAR)
            bar = f"[{'#' * full}{'.' * (_BAR - full)}] {self._share:4.0%}  "
        self._terminal.live(f"{bar}{seconds:.0f} s{self._level}")


class Command(process.Main):
    """A measurement of each backend. `say` gets each line that a benchmark prints; `bar` is None without a terminal."""

    def __init__(
        self,
        reactor: Any,
        reading: BenchmarkReading,
        environ: Mapping[str, str],
        *,
        out: TextIO,
        complain: Callable[[str], None],
        say: Callable[[str], None],
        bar: Bar | None = None,
    ) -> None:
        super().__init__(reactor)
        self._reactor = reactor
        self._options = reading.settings
        self._worker = reading.worker
        self._environ = environ
        self._out = out
        self._complain = complain
        self._say = say
        self._bar = bar
        self._levels: list[Level] = []
        self._done = 0  # the number of backends that were measured before

    async def main(self) -> int:
        """Measure, show, keep, and return the exit code."""
        measured: list[Measured] = []
        for number, backend in enumerate(self._worker.backend_urls):
            self._done, self._levels = number, []
            try:
                measured.append(await self._one(backend))
            except CancelledError:
                return INTERRUPTED
            except (BenchmarkError, OSError, ValueError) as error:
                self._complain(f"{str(error) or type(error).__name__} (the backend is {backend.url})")
        try:
            self._show(measured)
        except OutputError as error:
            self._complain(str(error))
            return 1
        saved = all(each.saved for each in measured) or not self._options.save
        return 0 if saved and len(measured) == len(self._worker.backend_urls) else 1

    async def _one(self, backend: BaseURL) -> Measured:
        began = self._reactor.seconds()
        if self._bar is not None:
            self._bar.start()
        try:
            figure = await self._measure(backend)
        finally:
            if self._bar is not None:
                self._bar.stop()
        seconds = self._reactor.seconds() - began
        saved = self._save(backend, figure) if self._options.save else ""
        return Measured(self._worker.benchmark, backend.url, figure, self._levels, seconds, saved)

    async def _measure(self, url: BaseURL) -> Figure:
        worker = self._worker
        backend = backend_access(self._reactor, worker, self._environ, url)
        figure = await Runner(self._reactor, self._reactor, self._environ).run(
            worker.benchmark,
            backend.origin.url,
            timeout=worker.benchmark_timeout,
            on_progress=self._say,
            ca_file=worker.backend_ca_file,
            authorization=worker.backend_authorization,
            on_level=self._on_level,
            on_share=self._on_share,
        )
        return Figure(figure, figure.concurrency, await backend.served())

    def _on_share(self, share: float) -> None:
        if self._bar is not None:
            self._bar.on_share((self._done + share) / len(self._worker.backend_urls))

    def _on_level(self, level: Level) -> None:
        if len(self._levels) < LEVELS_MAX:
            self._levels.append(level)
        if self._bar is not None:
            self._bar.on_level(level)

    def _save(self, backend: BaseURL, figure: Figure) -> str:
        """Keep the result for the worker. Returns the file's path, or "" if it could not be kept."""
        path = self._worker.benchmark_cache_file
        key = cache_key(self._worker.benchmark, backend.url, self._environ)
        cache = BenchmarkCache(path, key, [each.url for each in self._worker.backend_urls])
        cache.save(figure)
        if cache.load() == float(figure):
            return os.path.abspath(path)
        self._complain(
            f"the result could not be kept in VESPA_BENCHMARK_CACHE_FILE={path}: name a file that can be written"
        )
        return ""

    def _show(self, measured: Sequence[Measured]) -> None:
        several = len(self._worker.backend_urls) > 1
        if self._options.json and measured:
            found = several_to_json(measured, __version__) if several else to_json(measured[0], __version__)
            put(self._out, json.dumps(found, indent=1) + "\n")
            return
        for each in measured:
            table = plain_table(each)
            heading = f"\n{each.backend}\n" if several else ""
            put(self._out, heading + (f"\n{table}\n" if table else "\n") + "\n".join(sentences(each, several)) + "\n")
        if several and measured:
            put(self._out, f"\n{sum_of(measured)}\n")


def main(argv: Sequence[str]) -> int:
    """Run the command in this process's reactor. Returns the exit code; raises SystemExit for --help and --version."""
    out, errors = writable(sys.stdout), writable(sys.stderr)
    environ = dict(os.environ)
    try:
        reading = read(BENCHMARK.parse(argv), environ)
    except SettingsError as error:
        print(f"vespa-proxy benchmark: {error}", file=errors)
        return WRONG_USAGE
    reactor = process.install_reactor(reading.worker.transport)
    terminal = None if reading.settings.quiet else live_terminal(errors, environ)

    def write(line: str) -> None:
        (errors if terminal is None else terminal).write(f"{line}\n")

    for line in reading.warnings:
        write(f"note: {line}")
    process.begin_log(errors, "critical", reading.secrets)
    command = Command(
        reactor,
        reading,
        environ,
        out=out,
        complain=lambda why: write(f"vespa-proxy benchmark: {why}"),
        say=(lambda line: None) if reading.settings.quiet else write,
        bar=None if terminal is None else Bar(reactor, terminal),
    )
    return process.run(reactor, command)
