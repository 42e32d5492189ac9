"""Every check of the project, and one line about it: `python -m tests.run [OPTION ...] [module ...]`.

Without a module it runs ruff and mypy, which count as one test each, then all of the tests, and on Linux some of them
again: those that have to pass on every system with the names masked that macOS and Windows lack, and those that have to
pass over any transports over Twisted's own.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.running.pool import Pool
from tests.running.progress import Progress, minutes, summary
from tests.running.units import QUICK_WEIGHTS, WEIGHTS, Unit, expected_seconds, read_weights, units_of, write_weights
from tests.running.ways import MASKS, PLAIN, STOCK, WAYS
from tests.seeds import described

CHECKS = (
    ("ruff check", ("-m", "ruff", "check", ".")),
    ("ruff format", ("-m", "ruff", "format", "--check", ".")),
    ("mypy", ("-m", "mypy")),
)


def options(arguments: Sequence[str]) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.run", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="MODULE", help="a package, module, class or test; all by default")
    parser.add_argument("--quick", action="store_true", help="leave out what is marked `slow`, and the other ways")
    parser.add_argument("--no-checks", action="store_true", help="leave out ruff and mypy")
    parser.add_argument("--way", choices=WAYS, help="run the tests in this way alone")
    parser.add_argument(
        "--jobs", type=int, default=0, help="processes beside each other; three times the cores by default"
    )
    parser.add_argument("--record", action="store_true", help="record how long each module took, for the next run")
    parser.add_argument("--slowest", type=int, default=0, metavar="N", help="name the N tests that took longest")
    return parser.parse_args(arguments)


def weights_file(wanted: argparse.Namespace) -> Path:
    """Where the weights of such a run are."""
    return QUICK_WEIGHTS if wanted.quick else WEIGHTS


def plan(wanted: argparse.Namespace) -> list[Unit]:
    """The units that are asked for."""
    weights = read_weights(weights_file(wanted))
    way = WAYS[wanted.way or "plain"]
    if wanted.names or wanted.way:
        return units_of(wanted.names or way.tests, way, weights)
    found = [
        Unit(name, command=command, weight=weights.get(name, Unit(name).weight))
        for name, command in CHECKS
        if not wanted.no_checks
    ] + units_of(["tests"], PLAIN, weights)
    if sys.platform == "linux" and not wanted.quick:
        for other in (*MASKS, STOCK):
            found += units_of(other.tests, other, weights)
    return found


def main(arguments: Sequence[str]) -> int:
    """Run the checks; the exit code is 1 where something failed, or where there was nothing to run."""
    wanted = options(arguments)
    print(described(), flush=True)
    units, cores = plan(wanted), len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    cores = cores or 1
    jobs = min(wanted.jobs or 3 * cores, len(units))
    expected = expected_seconds(units, cores, jobs)
    print(f"{len(units)} modules on {cores} cores, about {minutes(expected)} on an idle machine", flush=True)
    columns = shutil.get_terminal_size((120, 24)).columns
    progress = Progress(units, expected, sys.stdout, time.monotonic, is_terminal=sys.stdout.isatty(), columns=columns)
    Pool(units, progress, cores=cores, jobs=jobs, quick=wanted.quick, clock=time.monotonic).run()
    progress.close()
    if wanted.record:
        path = weights_file(wanted)
        write_weights({**(read_weights(path) if wanted.names else {}), **progress.weights}, path)
    for seconds, test in progress.slowest[: wanted.slowest]:
        print(f"{seconds:8.2f} s  {test}")
    print(summary(progress.passed, progress.failed, progress.skipped), flush=True)
    return 1 if progress.failed or not progress.passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
