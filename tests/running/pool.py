"""Processes beside each other that run units, and what they tell."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from queue import Empty, SimpleQueue
from tempfile import TemporaryFile
from typing import Any, Protocol

from tests.running.units import Unit, choose
from tests.running.ways import ROOT

INTERRUPT_SECONDS = 10.0


class Observer(Protocol):
    """Who is told how a run goes on."""

    def started(self, unit: Unit) -> None:
        """A unit has begun."""

    def ended(self, unit: Unit, seconds: float, cpu_seconds: float, output: str) -> None:
        """A unit is done, after this time; `output` is what its tests printed."""

    def test_ended(self, unit: Unit, test: str, outcome: str, text: str, seconds: float) -> None:
        """A test of a unit passed, failed or was skipped; `text` says why."""

    def tick(self) -> None:
        """A second has passed, or something else happened."""


class Process:
    """One process: a worker for units of one way, or a check."""

    def __init__(self, first: Unit, events: SimpleQueue[tuple[Process, str | None]]) -> None:
        self.way = first.way
        self.is_check = bool(first.command)
        self.unit: Unit | None = None
        self.test = ""
        self.is_closed = False
        self._printed = TemporaryFile()
        self._read_to = 0
        self._events = events
        command = (sys.executable, *(first.command or ("-m", "tests.running.worker", first.way.name)))
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=first.way.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if self.is_check else self._printed,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._events.put((self, line))
        self._process.wait()
        self._events.put((self, None))

    def give(self, unit: Unit, quick: bool) -> None:
        """Let it run a unit."""
        self.unit = unit
        if not self.is_check:
            command = {"name": unit.name, "part": unit.part, "parts": unit.parts, "quick": quick}
            self._write(json.dumps(command) + "\n")

    def _write(self, text: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(text)
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended, as its reader tells

    def close(self) -> None:
        """There is nothing more for it to do."""
        self.is_closed = True
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            pass

    def interrupt(self) -> None:
        """End it as Ctrl-C does, so that what its test has started is ended too; by force where that takes long."""
        if sys.platform == "win32":
            self._process.kill()
            return
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(INTERRUPT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()

    @property
    def exit_code(self) -> int:
        """How it ended."""
        return self._process.wait()

    def dispose(self) -> None:
        """Close what belongs to it, after it has ended."""
        assert self._process.stdout is not None
        self.close()
        self._process.stdout.close()
        self._printed.close()

    def printed(self) -> str:
        """What it printed since this was last asked."""
        self._printed.seek(self._read_to)
        text = self._printed.read()
        self._read_to += len(text)
        return text.decode("utf-8", "replace")


class Pool:
    """Runs units in at most `jobs` processes on so many cores."""

    def __init__(
        self,
        units: Iterable[Unit],
        observer: Observer,
        *,
        cores: int,
        jobs: int,
        quick: bool,
        clock: Callable[[], float],
    ) -> None:
        self._waiting = list(units)
        self._observer = observer
        self._cores, self._jobs, self._quick, self._clock = cores, jobs, quick, clock
        self._events: SimpleQueue[tuple[Process, str | None]] = SimpleQueue()
        self._processes: list[Process] = []
        self._began: dict[Process, float] = {}
        self._said: dict[Process, list[str]] = {}

    def run(self) -> None:
        """Run all units. Each of its processes is ended when this returns or raises."""
        try:
            self._fill()
            while self._processes:
                try:
                    process, line = self._events.get(timeout=1.0)
                except Empty:
                    pass
                else:
                    self._told(process, line)
                self._observer.tick()
        finally:
            for process in self._processes:
                process.interrupt()

    def running(self) -> list[Unit]:
        """What is being run."""
        return [process.unit for process in self._processes if process.unit is not None]

    def _fill(self) -> None:
        """Start as many units as there is room for, in processes that are free, or in new ones."""
        while True:
            free = [process for process in self._processes if process.unit is None and not process.is_closed]
            unit = choose(self._waiting, self.running(), self._cores, {process.way for process in free})
            if unit is None:
                break
            process = next((each for each in free if each.way is unit.way and not unit.command), None)
            if process is None:
                if sum(not each.is_closed for each in self._processes) >= self._jobs:
                    if not free:
                        break
                    free[0].close()
                process = Process(unit, self._events)
                self._processes.append(process)
            self._give(process, unit)
        if not self._waiting:
            for process in free:
                process.close()

    def _give(self, process: Process, unit: Unit) -> None:
        self._waiting.remove(unit)
        self._began[process] = self._clock()
        self._said[process] = []
        process.give(unit, self._quick)
        self._observer.started(unit)

    def _told(self, process: Process, line: str | None) -> None:
        if line is None:
            self._gone(process)
        elif process.is_check:
            self._said[process].append(line)
        else:
            self._event(process, json.loads(line))

    def _event(self, process: Process, event: dict[str, Any]) -> None:
        unit = process.unit
        assert unit is not None
        if "starts" in event:
            process.test = event["starts"]
        elif "test" in event:
            self._observer.test_ended(unit, **event)
        else:
            self._next(process, **event)

    def _next(self, process: Process, seconds: float, cpu_seconds: float) -> None:
        """A unit is done, and its process is free."""
        assert process.unit is not None
        self._observer.ended(process.unit, seconds, cpu_seconds, process.printed())
        process.unit, process.test = None, ""
        self._fill()

    def _gone(self, process: Process) -> None:
        """A process has ended; one that had a unit is a check, or broke."""
        self._processes.remove(process)
        began, said = self._began.pop(process), self._said.pop(process)
        unit = process.unit
        if unit is not None:
            text, seconds = "".join(said) + process.printed(), self._clock() - began
            if not process.is_check:
                text = f"the process ended with exit code {process.exit_code}; it printed:\n{text}"
                self._observer.test_ended(unit, process.test or unit.name, "failed", text, seconds)
            else:
                outcome = "failed" if process.exit_code else "passed"
                self._observer.test_ended(unit, unit.name, outcome, text, seconds)
            self._observer.ended(unit, seconds, unit.weight.cpu_seconds, "")
        process.dispose()
        self._fill()
