"""`vespa-proxy load`: the options, the process around a test, and the output at the end."""

from __future__ import annotations

import itertools
import os
import random
import secrets
import sys
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, Final, TextIO, cast

from attrs import evolve, fields
from twisted.internet.defer import CancelledError
from twisted.logger import Logger

from vespa import __version__
from vespa.client.command.launch import LaunchError, launch
from vespa.config.commands import LOAD
from vespa.config.load import LoadReading, LoadSettings, read
from vespa.config.reader import SettingsError
from vespa.http.agent import Agent
from vespa.loadtest.about import About
from vespa.loadtest.load_request import Target
from vespa.loadtest.output import Result, files, is_one_place, result_of, result_of_sweep, unwritable, write
from vespa.loadtest.plan import Plan
from vespa.loadtest.progress import Progress
from vespa.loadtest.report import Report
from vespa.loadtest.run import Run
from vespa.loadtest.sweep import run_sweep
from vespa.loadtest.sweep_text import sweep_intention
from vespa.loadtest.text import intention
from vespa.loadtest.work import BadWork, Work, find_test_request, prepare
from vespa.runtime import process
from vespa.runtime.signals import flush_and_exit
from vespa.runtime.standard_streams import writable
from vespa.runtime.terminal import Terminal
from vespa.runtime.trust import trust_roots

log = Logger()

NO_MORE_PATIENCE: Final = 3  # the number of signals that ends the process at once


class Command(process.Main):
    """One run of the command. `announces`: print the plan before the test."""

    def __init__(
        self,
        reactor: Any,
        reading: LoadReading,
        first: Work,
        works: Callable[[], Work],
        terminal: Terminal,
        *,
        announces: bool,
        hide: Callable[[str], None],
    ) -> None:
        super().__init__(reactor)
        self._options = reading.settings
        self._client = reading.client
        self._first = first
        self._works = works
        self._progress = Progress(reactor, time.perf_counter, terminal)
        self._signals = 0
        self._run: Run | None = None
        self._announces = announces
        self._hide = hide

    def interrupt(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        self._signals += 1
        if self._signals >= NO_MORE_PATIENCE:
            flush_and_exit(1)
        self._reactor.callFromThread(self._interrupted)

    def _interrupted(self) -> None:
        if self._run is None:
            self.stopService()
        else:
            self._run.interrupt()

    async def main(self) -> int:
        """Test, write the report, and return the exit code."""
        try:
            return write(await self._test(), self._options, os.environ)
        except LaunchError as error:
            problem = str(error)
        except CancelledError:
            problem = "interrupted before the test began"
        except Exception as error:
            log.failure("the load test failed")
            problem = f"{type(error).__name__}: {error}"
        print(f"vespa-proxy load: {problem}", file=sys.stderr)
        return 1

    async def _test(self) -> Result:
        options = self._options
        headers = dict(options.headers)
        if options.url:
            return await self._send_to(Target(url=options.url, headers=headers), options.url)
        # With a token, so that no other program on this machine can use the endpoint's key through this proxy.
        token = secrets.token_urlsafe(24)
        self._hide(token)
        settings = evolve(self._client, token=token)
        client, settings = await launch(self._reactor, settings, on_wait=self._progress.waits, hide=self._hide)
        try:
            headers["Authorization"] = f"Bearer {token}"
            return await self._send_to(Target(url=client.url, headers=headers), settings.endpoint)
        finally:
            await client.stopService()

    async def _send_to(self, target: Target, name: str) -> Result:
        options, first, plan = self._options, self._first, plan_of(self._options)
        about = About(
            vespa=__version__,
            started=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            target=name,
            through="url" if options.url else "client",
            path=first.path,
            benchmark=options.benchmark,
            stream=first.streamed,
            seed=random.SystemRandom().getrandbits(32) if options.seed is None else options.seed,
            cost=first.cost,
        )
        agent = Agent(self._reactor, trust=trust_roots(self._client.worker_ca) if self._client.worker_ca else None)
        works = itertools.chain([first], iter(self._works, None)).__next__

        async def run(plan: Plan, title: str = "") -> Report:
            process.settle_memory()  # otherwise a garbage collection over all modules would make requests late
            self._run = Run(
                clock=self._reactor,
                now=time.perf_counter,
                cpu=time.process_time,
                plan=plan,
                about=about,
                agent=agent,
                slo=options.slo,
                works=works,
                progress=None if options.quiet else self._progress,
                title=title,
            )
            return await self._run.test(target)

        sweep = options.sweep
        said = intention(about, plan) if sweep is None else sweep_intention(about, plan, sweep)
        if self._announces:
            self._progress.tell(said)
        if sweep is None:
            return result_of(await run(plan), options)
        return result_of_sweep(await run_sweep(run, plan, sweep, about), said, options)


def main(argv: Sequence[str]) -> int:
    """Run the command in this process's reactor and return the exit code. Raises SystemExit for --help."""
    sys.stdout, sys.stderr = writable(sys.stdout), writable(sys.stderr)
    given = LOAD.parse(argv)
    try:
        reading = read(given, os.environ)
        _check_files(reading)
        works = _works_of(reading.settings)
        first = works()
    except (SettingsError, BadWork) as error:
        print(f"vespa-proxy load: {error}", file=sys.stderr)
        return 2
    except Exception as error:  # of the benchmark module
        print(f"vespa-proxy load: get_test_request() failed: {type(error).__name__}: {error}", file=sys.stderr)
        return 2
    options = reading.settings
    reactor = process.install_reactor(reading.client.transport)
    terminal = Terminal(sys.stderr, os.environ)
    for line in reading.warnings:
        terminal.write(line + "\n")
    level = "debug" if reading.client.debug else "error"
    observer = process.begin_log(cast(TextIO, terminal), level, reading.secrets)
    # If the report goes to the same place, its first line would appear there twice.
    announces = not options.quiet and (options.json == "-" or not is_one_place(sys.stdout, sys.stderr))
    command = Command(reactor, reading, first, works, terminal, announces=announces, hide=observer.hide)
    return process.run(reactor, command, on_signal=command.interrupt)


def _works_of(options: LoadSettings) -> Callable[[], Work]:
    if options.seed is not None:
        os.environ["BENCHMARK_SEED"] = str(options.seed)
        random.seed(options.seed)  # for modules that use the global generator
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    test_request = find_test_request(options.benchmark)
    return lambda: prepare(test_request(), options.streams)


def plan_of(options: LoadSettings) -> Plan:
    """The plan that the options describe."""
    return Plan(**{each.name: getattr(options, each.name) for each in fields(Plan)})


def _check_files(reading: LoadReading) -> None:
    """Check files now, not when the report is written. Raises SettingsError."""
    problems = []
    if reading.client.worker_ca:
        try:
            trust_roots(reading.client.worker_ca)
        except Exception as error:
            problems.append(f"--worker-ca: {error or type(error).__name__}")
    for option, path in files(reading.settings):
        if problem := unwritable(path):
            problems.append(f"{option}: cannot write {path}: {problem}")
    if problems:
        raise SettingsError(problems)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
