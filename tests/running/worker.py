"""A process that runs units of tests, one after the other: `python -m tests.running.worker WAY`.

A line of standard input is a unit, and the end of it ends the process. A line of standard output is an event; what the
tests print goes to standard error. Both are JSON objects: see `Command` and `Reporting`.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Iterator
from typing import Any, TextIO, TypedDict

from twisted.python.failure import Failure
from twisted.trial.itrial import ITestCase
from twisted.trial.reporter import Reporter
from twisted.trial.runner import TestLoader, TestSuite, TrialRunner
from twisted.trial.unittest import decorate

from tests.running.ways import WAYS
from vespa.transport.platform import install_own_reactor


class Command(TypedDict):
    """The tests of a module, every `parts`th of them from `part` on, without the slow ones where it is to be quick."""

    name: str
    part: int
    parts: int
    quick: bool


def cpu_seconds() -> float:
    """What this process has computed so far, and the processes that it started and that ended."""
    return sum(os.times()[:4])


def waiting_seconds() -> float:
    """How long this process has waited for a core so far, where the system tells: on an idle machine it would not."""
    try:
        with open("/proc/self/schedstat", encoding="ascii") as file:
            return int(file.read().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


class Reporting(Reporter):
    """
    Tells how each test ended: {"test", "outcome": passed | failed | skipped, "text", "seconds"}.

    A test that fails in several ways is told of several times. An unexpected success is a failure, an expected failure
    is none: a to-do says which.
    """

    def __init__(self, events: TextIO) -> None:
        super().__init__(stream=sys.stderr)
        self._events = events
        self._started = 0.0

    def tell(self, **event: Any) -> None:
        """Write an event."""
        self._events.write(json.dumps(event) + "\n")
        self._events.flush()

    def _ended(self, test: Any, outcome: str, text: str = "") -> None:
        seconds = round(time.monotonic() - self._started, 3)
        self.tell(test=test.id(), outcome=outcome, text=text, seconds=seconds)

    def _failed(self, test: Any, error: Any) -> None:
        failure = error if isinstance(error, Failure) else Failure(error[1], error[0], error[2])
        notes = getattr(failure.value, "__notes__", ())  # hypothesis's example that fails
        text = failure.getTraceback(elideFrameworkCode=True)
        self._ended(test, "failed", "\n".join([text.rstrip(), *notes]))

    def startTest(self, test: Any) -> None:
        """Called before a test."""
        self._started = time.monotonic()
        self.tell(starts=test.id())

    def stopTest(self, test: Any) -> None:
        """Called after a test."""

    def addSuccess(self, test: Any) -> None:
        """A test passed."""
        self._ended(test, "passed")

    def addExpectedFailure(self, test: Any, error: Any, todo: Any = None) -> None:
        """A test failed that is to do."""
        self._ended(test, "passed")

    def addSkip(self, test: Any, reason: str) -> None:
        """A test was skipped."""
        self._ended(test, "skipped", str(reason))

    def addUnexpectedSuccess(self, test: Any, todo: Any = None) -> None:
        """A test passed that is to do."""
        self._ended(test, "failed", f"an unexpected success; to do: {todo}")

    def addFailure(self, test: Any, error: Any) -> None:
        """A test failed."""
        self._failed(test, error)

    def addError(self, test: Any, error: Any) -> None:
        """A test broke."""
        self._failed(test, error)

    def done(self) -> None:
        """Called at the end of it all."""


def each(suite: Any) -> Iterator[Any]:
    """The tests in a suite, in its order."""
    try:
        inner = list(suite)
    except TypeError:
        yield suite
        return
    for test in inner:
        yield from each(test)


def is_slow(name: str) -> bool:
    """Whether the module of this name, or a package that it is in, says `slow = True`."""
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        try:
            if getattr(importlib.import_module(".".join(parts[:end])), "slow", False):
                return True
        except ImportError:
            break  # the name of a class or of a test, or a module that is broken, of which the loader tells
    return False


def is_marked(test: Any) -> bool:
    """Whether a test, or its class, is marked by `slow = True`."""
    method = getattr(test, test.id().rpartition(".")[2], None)
    return bool(getattr(test, "slow", False) or getattr(method, "slow", False))


def load(command: Command) -> TestSuite:
    """The tests that are asked for."""
    if command["quick"] and is_slow(command["name"]):
        return TestSuite()
    tests = list(each(TestLoader().loadByNames([command["name"]], recurse=True)))[command["part"] :: command["parts"]]
    if command["quick"]:
        tests = [test for test in tests if not is_marked(test)]
    return TestSuite(tests)


class Commands(TestSuite):
    """All that this process will be asked to run."""

    def __init__(self, commands: TextIO) -> None:
        super().__init__()
        self._commands = commands

    def run(self, result: Any, debug: bool = False) -> Any:
        """Run units until there are no more."""
        for line in self._commands:
            start, cpu = time.monotonic() - waiting_seconds(), cpu_seconds()
            decorate(load(json.loads(line)), ITestCase).run(result)
            seconds = time.monotonic() - waiting_seconds() - start
            result.tell(seconds=seconds, cpu_seconds=cpu_seconds() - cpu)
        return result


def main(arguments: list[str]) -> int:
    """Run units in this way."""
    (way,) = arguments
    install_own_reactor()
    WAYS[way].check()
    # The pipes get numbers of their own, so that a test may print, or read an empty standard input.
    commands = os.fdopen(os.dup(0), encoding="utf-8")
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    TrialRunner(lambda *_: Reporting(events)).run(Commands(commands))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
