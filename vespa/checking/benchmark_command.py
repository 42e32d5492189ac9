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
from vespa.checking.benchmark_table import Measured, plain_table, sentences, to_json
from vespa.checking.live import Live, live_terminal
from vespa.config.benchmark import BenchmarkReading, read
from vespa.config.commands import BENCHMARK
from vespa.config.reader import SettingsError
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
    """One measurement. `say` gets each line that the benchmark prints; `bar` is None without a terminal."""

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

    async def main(self) -> int:
        """Measure, show, keep, and return the exit code."""
        began = self._reactor.seconds()
        if self._bar is not None:
            self._bar.start()
        try:
            figure = await self._measure()
        except CancelledError:
            return INTERRUPTED
        except (BenchmarkError, OSError, ValueError) as error:
            self._complain(f"{str(error) or type(error).__name__} (the backend is {self._backend_url})")
            return 1
        finally:
            if self._bar is not None:
                self._bar.stop()
        seconds = self._reactor.seconds() - began
        saved = self._save(figure) if self._options.save else ""
        try:
            self._show(Measured(self._worker.benchmark, self._backend_url, figure, self._levels, seconds, saved))
        except OutputError as error:
            self._complain(str(error))
            return 1
        return 0 if saved or not self._options.save else 1

    @property
    def _backend_url(self) -> str:
        assert self._worker.backend_url is not None  # the settings make sure of it
        return self._worker.backend_url.url

    async def _measure(self) -> Figure:
        worker = self._worker
        backend = backend_access(self._reactor, worker, self._environ)
        figure = await Runner(self._reactor, self._reactor, self._environ).run(
            worker.benchmark,
            backend.origin.url,
            timeout=worker.benchmark_timeout,
            on_progress=self._say,
            ca_file=worker.backend_ca_file,
            authorization=worker.backend_authorization,
            on_level=self._on_level,
            on_share=lambda share: None if self._bar is None else self._bar.on_share(share),
        )
        return Figure(figure, figure.concurrency, await backend.served())

    def _on_level(self, level: Level) -> None:
        if len(self._levels) < LEVELS_MAX:
            self._levels.append(level)
        if self._bar is not None:
            self._bar.on_level(level)

    def _save(self, figure: Figure) -> str:
        """Keep the result for the worker. Returns the file's path, or "" if it could not be kept."""
        path = self._worker.benchmark_cache_file
        cache = BenchmarkCache(path, cache_key(self._worker.benchmark, self._backend_url, self._environ))
        cache.save(figure)
        if cache.load() == float(figure):
            return os.path.abspath(path)
        self._complain(
            f"the result could not be kept in VESPA_BENCHMARK_CACHE_FILE={path}: name a file that can be written"
        )
        return ""

    def _show(self, measured: Measured) -> None:
        if self._options.json:
            put(self._out, json.dumps(to_json(measured, __version__), indent=1) + "\n")
            return
        table = plain_table(measured)
        put(self._out, (f"\n{table}\n" if table else "\n") + "\n".join(sentences(measured)) + "\n")


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
