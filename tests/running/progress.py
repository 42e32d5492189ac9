"""What a run shows while it goes on: failures at once, and a line of where it is, on a terminal and in a log."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TextIO

from tests.running.units import Unit, Weight

TERMINAL_SECONDS = 1.0
LOG_SECONDS = 10.0
MOST_NAMES = 3


def minutes(seconds: float) -> str:
    """A time as M:SS."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def summary(passed: int, failed: int, skipped: int) -> str:
    """The last line of a run."""
    return f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else "")


_COUNTS = re.compile(r"(\d+) passed, (\d+) failed(?:, (\d+) skipped)?\s*\Z")


def counts(text: str) -> tuple[int, int, int]:
    """Passed, failed and skipped, as the last line of a run says; a run without that line failed."""
    found = _COUNTS.search(text)
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found is not None else (0, 1, 0)


class Progress:
    """The numbers of a run; each is written where it is due."""

    def __init__(
        self,
        units: Iterable[Unit],
        expected_seconds: float,
        output: TextIO,
        clock: Callable[[], float],
        *,
        is_terminal: bool,
        columns: int = 120,
    ) -> None:
        self.passed = self.failed = self.skipped = 0
        self.slowest: list[tuple[float, str]] = []
        self.weights: dict[str, Weight] = {}
        self._units = len(list(units))
        self._done = 0
        self._expected = expected_seconds
        self._output, self._clock = output, clock
        self._is_terminal, self._columns = is_terminal, columns
        self._running: list[Unit] = []
        self._reasons: dict[str, int] = {}
        self._failed_tests: list[str] = []
        self._began = clock()
        self._shown = clock()
        self._has_line = False

    def started(self, unit: Unit) -> None:
        """A unit has begun."""
        self._running.append(unit)

    def ended(self, unit: Unit, seconds: float, cpu_seconds: float, output: str) -> None:
        """A unit is done."""
        self._running.remove(unit)
        self._done += 1
        label = Unit(unit.name, unit.way).label
        whole = self.weights.get(label, Weight(0.0, 0.0))
        self.weights[label] = Weight(whole.seconds + seconds, whole.cpu_seconds + cpu_seconds)
        if output.strip():
            self._write(f"{unit.label} printed:\n{output.rstrip()}")

    def test_ended(self, unit: Unit, test: str, outcome: str, text: str, seconds: float) -> None:
        """A test passed, failed or was skipped."""
        self.slowest = sorted([*self.slowest, (seconds, test)], reverse=True)[:20]
        if outcome == "passed":
            self.passed += 1
        elif outcome == "skipped":
            self.skipped += 1
            self._reasons[text] = self._reasons.get(text, 0) + 1
        else:
            self.failed += 1
            label = test if unit.way.name == "plain" else f"{test} ({unit.way.name})"
            self._failed_tests.append(label)
            self._write(f"FAILED {label}\n{text.rstrip()}\n")

    def tick(self) -> None:
        """Show where the run is, when that was not shown for a while."""
        now = self._clock()
        if now - self._shown >= (TERMINAL_SECONDS if self._is_terminal else LOG_SECONDS):
            self._shown = now
            line = self.line()
            if self._is_terminal:
                self._output.write(f"\r{line[: self._columns - 1]:<{self._columns - 1}}")
                self._has_line = True
            else:
                self._output.write(line + "\n")
            self._output.flush()

    def line(self) -> str:
        """Where the run is."""
        names = [unit.label.removeprefix("tests.") for unit in self._running]
        more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
        return (
            f"{minutes(self._clock() - self._began)} of about {minutes(self._expected)}, "
            f"{self._done} of {self._units} modules: {summary(self.passed, self.failed, self.skipped)}; "
            f"running {', '.join(names[:MOST_NAMES])}{more}"
        )

    def close(self) -> None:
        """Say what was skipped, and again what failed."""
        for reason, count in sorted(self._reasons.items()):
            self._write(f"{count} skipped: {reason}")
        for test in self._failed_tests:
            self._write(f"FAILED {test}")
        self._write(f"took {minutes(self._clock() - self._began)}")

    def _write(self, text: str) -> None:
        if self._has_line:
            self._output.write(f"\r{'':<{self._columns - 1}}\r")
            self._has_line = False
        self._output.write(text + "\n")
        self._output.flush()
