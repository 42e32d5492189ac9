"""`vespa-proxy migrate`: prints the environment with which Vespa does what a PyWorker's file does."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Final, TextIO

from vespa.config.commands import MIGRATE
from vespa.config.migrate import MigrateSettings
from vespa.config.reader import Reading, SettingsError
from vespa.config.values import benchmark as benchmark_name
from vespa.migrating.benchmark_module import module
from vespa.migrating.checked_json import LONGEST
from vespa.migrating.differences import add_remarks
from vespa.migrating.endings import sentence
from vespa.migrating.messages import Benchmark
from vespa.migrating.output import shown, to_json, to_text
from vespa.migrating.plan import make_plan, measured_handler
from vespa.migrating.reading import ChildResult, ReadingError, read_worker
from vespa.runtime.files import replace_file
from vespa.runtime.standard_streams import writable

INCOMPLETE: Final = 1
WRONG_USAGE: Final = 2


def read(argv: Sequence[str], environ: Mapping[str, str]) -> MigrateSettings:
    """The options. Raises SettingsError."""
    settings = Reading(MigrateSettings, environ, MIGRATE.parse(argv)).settings()
    if not settings.file:
        raise SettingsError(["name the worker's file, such as worker.py"])
    if any(len(each) > LONGEST for each in settings.argument):
        raise SettingsError([f"--argument: {LONGEST} characters are allowed at most"])
    if settings.benchmark:
        try:
            benchmark_name(_spec(settings.benchmark))
        except ValueError:
            raise SettingsError(["--benchmark: must be the path of a file that ends in .py"]) from None
        if os.path.realpath(settings.benchmark) == os.path.realpath(settings.file):
            raise SettingsError(["--benchmark: that is the worker's file itself"])
        if os.path.lexists(settings.benchmark) and not settings.force:
            raise SettingsError([f"--benchmark: {settings.benchmark} is there already; --force overwrites it"])
    return settings


def migrate(settings: MigrateSettings, environ: Mapping[str, str], out: TextIO) -> int:
    """Read the file, print the plan, and return the exit code. Raises ReadingError and OSError."""
    result = read_worker(
        settings.file,
        environ,
        settings.python or sys.executable,
        arguments=settings.argument,
        stand_in=settings.stand_in,
        seconds=settings.timeout,
    )
    answer = result.answer
    ending = sentence(answer.end, os.path.realpath(settings.file), settings.timeout, result.printed)
    if answer.found is None:
        nothing = "it makes no Worker and no WorkerConfig of the package vastai"
        ended = answer.end.how == "finished"
        raise ReadingError(f"{nothing}: {ending}" if ended else ending or "its Worker has no WorkerConfig")
    written = None
    measured = measured_handler(answer.found)
    if settings.benchmark and measured is not None and measured[1].requests:
        replace_file(settings.benchmark, module(*measured, result.hidden).encode("ascii"), 0o644)
        written = measured[1]
    plan = make_plan(answer.found, "" if written is None else _spec(settings.benchmark))
    add_remarks(plan, answer.found, answer, result.hidden)
    notes = _notes(settings, result, written, ending)
    if settings.json:
        path = "" if written is None else os.path.abspath(settings.benchmark)
        out.write(to_json(plan, settings.file, answer.package, notes, path))
    else:
        source = f"vastai {answer.package}" if answer.package else "a stand-in of the package vastai"
        out.write(to_text(plan, f"Vespa's environment for {settings.file}, read with {source}.", notes))
    return INCOMPLETE if plan.missing or (settings.benchmark and written is None) else 0


def _spec(path: str) -> str:
    """The value of VESPA_BENCHMARK for a module."""
    return f"{os.path.abspath(path)}:benchmark"


def _notes(settings: MigrateSettings, result: ChildResult, written: Benchmark | None, ending: str) -> list[str]:
    """What to know before the settings are used. `written` is the description of the benchmark that was written."""
    notes = ["WORKER_PORT, USE_SSL, UNSECURED and what Vast.ai sets stay as they are: Vespa reads them too."]
    if error := result.answer.package_error:
        notes.append(f"The installed package vastai could not be used: {error}")
    if ending:
        notes.append(f"Check that this is the right configuration, because {ending}.")
    if written is not None:
        count = len(written.requests)
        more = f"; {written.cut} more were left out" if written.cut else ""
        notes.append(
            f"The benchmark has {count} request{'s' * (count > 1)} of the file's {written.source}{more}. Copy "
            f"{settings.benchmark} to the worker, and change VESPA_BENCHMARK if its path is another one there."
        )
        if len({work for _, work in written.requests}) > 1:
            notes.append(
                "Its requests differ in work. It takes them in turn; Vast's own worker takes them at random and "
                "reports the best round, so that its figure is higher by chance."
            )
    elif settings.benchmark:
        notes.append("No benchmark was written. What is said of benchmark_config below has the reason.")
    return notes


def main(argv: Sequence[str]) -> int:
    """Run the command. Returns the exit code; raises SystemExit for --help and --version."""
    out, errors = writable(sys.stdout), writable(sys.stderr)
    environ = dict(os.environ)
    try:
        settings = read(argv, environ)
    except SettingsError as error:
        print(f"vespa-proxy migrate: {error}", file=errors)
        return WRONG_USAGE
    try:
        return migrate(settings, environ, out)
    except ReadingError as error:
        print(f"vespa-proxy migrate: {shown(settings.file)}: {shown(str(error))}", file=errors)
    except OSError as error:
        print(f"vespa-proxy migrate: {settings.benchmark}: {error.strerror or error}", file=errors)
    return INCOMPLETE
