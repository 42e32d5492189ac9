"""Every check of the project, and one line about it: `python -m tests.run [module ...]`.

Without a module it runs ruff and mypy, which count as one test each, then all of the tests, and on Linux some of them
again: those that have to pass on every system with the names masked that macOS and Windows lack, and those that have to
pass over any transports over Twisted's own.
"""

from __future__ import annotations

import atexit
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from tempfile import TemporaryFile
from typing import TextIO

from twisted.trial.reporter import TreeReporter
from twisted.trial.runner import TestLoader, TrialRunner

from tests import install_reactor, masked, over_stock
from tests.seeds import described

CHECKS = (
    ("ruff", ("-m", "ruff", "check", ".")),
    ("mypy", ("-m", "mypy")),
)


def summary(passed: int, failed: int, skipped: int) -> str:
    """The last line."""
    return f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else "")


def start_again() -> list[tuple[str, subprocess.Popen[str], TextIO]]:
    """
    Run the tests that have to pass in other ways as well, each way in a process of its own beside this one's tests.

    Most of both is waiting. What they say goes to files: a pipe's reader would open and close descriptors in this
    process, which tests count.
    """
    running = []
    for name, start in (
        *((f"masked as {mask}", partial(masked.start, mask)) for mask in masked.MASKS),
        ("over stock transports", over_stock.start),
    ):
        output = TemporaryFile("w+", encoding="utf-8", errors="replace")
        process = start(output=output)
        atexit.register(process.kill)  # where this process does not come to wait for it
        running.append((name, process, output))
    return running


def main(names: Sequence[str]) -> int:
    """Run the checks; the exit code is 1 where something failed, or where there was nothing to run."""
    print(described(), flush=True)
    install_reactor()
    running = [] if names or sys.platform != "linux" else start_again()
    passed = failed = 0
    for name, arguments in () if names else CHECKS:
        print(f"{name} ...", flush=True)
        if subprocess.run([sys.executable, *arguments]).returncode:
            failed += 1
        else:
            passed += 1
    suite = TestLoader().loadByNames(list(names) or ["tests"], recurse=True)
    result = TrialRunner(TreeReporter).run(suite)
    for _, failure in (*result.failures, *result.errors):
        for note in getattr(getattr(failure, "value", None), "__notes__", ()):
            print(note, flush=True)  # hypothesis's example that fails, which trial does not show
    # An unexpected success is a failure, one that was expected is none: a to-do says which.
    failed += len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses)
    passed += result.successes + len(result.expectedFailures)
    skipped = len(result.skips)
    for name, process, output in running:
        process.wait()
        output.seek(0)
        text = output.read()
        counts = masked.counts(text)
        print(text if process.returncode else f"{name}: {summary(*counts)}", flush=True)
        passed, failed, skipped = passed + counts[0], failed + counts[1], skipped + counts[2]
    print(summary(passed, failed, skipped), flush=True)
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
