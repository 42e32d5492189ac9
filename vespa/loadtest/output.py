"""Where a report goes: files, and standard output."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TextIO

from attrs import asdict, frozen

from vespa.config.load import LoadSettings
from vespa.loadtest.page import page, sweep_page
from vespa.loadtest.report import Report
from vespa.loadtest.sweep import SweepReport
from vespa.loadtest.sweep_text import sweep_table
from vespa.loadtest.text import table
from vespa.loadtest.thresholds import Check, check, passed


def files(options: LoadSettings) -> list[tuple[str, str]]:
    """The files for the report, with the options that name them."""
    named = [("--json", options.json), ("--html", options.html)]
    return [(option, path) for option, path in named if path not in ("", "-")]


def unwritable(path: str) -> str:
    """The reason why a file cannot be written, or "". Opens and creates nothing, because it may be a pipe."""
    if os.path.isdir(path) or path.endswith(("/", os.sep)):
        return "it is a folder"
    if os.path.exists(path):
        return "" if os.access(path, os.W_OK) else "this user may not write it"
    folder = os.path.dirname(os.path.realpath(path))
    if not os.path.isdir(folder):
        return f"there is no folder {folder}"
    return "" if os.access(folder, os.W_OK | os.X_OK) else f"this user may not create files in {folder}"


def is_one_place(one: TextIO, other: TextIO) -> bool:
    """Whether two streams go to the same terminal, pipe or file."""
    try:
        return os.path.sameopenfile(one.fileno(), other.fileno())
    except (OSError, ValueError):
        return False


@frozen
class Result:
    """A report in its forms: values for JSON, the page, and the table for a stream; and whether the test went well."""

    document: dict[str, Any]
    page: Callable[[], str]
    table: Callable[[TextIO, Mapping[str, str]], str]
    passed: bool


def result_of(report: Report, options: LoadSettings) -> Result:
    """The result of a single test."""
    checks = check(report, options.fail_if)
    return Result(
        document=_document(report, checks),
        page=lambda: page(report, checks),
        table=lambda stream, environ: table(report, stream, environ, checks),
        passed=passed(report, options.fail_if),
    )


def result_of_sweep(report: SweepReport, intention: str, options: LoadSettings) -> Result:
    """The result of a sweep, which goes well if each level does."""
    checks = [check(level.report, options.fail_if) for level in report.levels]
    levels = [
        {"value": level.value, "report": _document(level.report, found)}
        for level, found in zip(report.levels, checks, strict=True)
    ]
    return Result(
        document={**report.to_json(), "levels": levels},
        page=lambda: sweep_page(report, intention, checks),
        table=lambda stream, environ: sweep_table(report, intention, stream, environ, checks),
        passed=all(passed(level.report, options.fail_if) for level in report.levels),
    )


def _document(report: Report, checks: Iterable[Check]) -> dict[str, Any]:
    return {**report.to_json(), "thresholds": [asdict(each) for each in checks]}


def write(result: Result, options: LoadSettings, environ: Mapping[str, str]) -> int:
    """Write a result to its files and to standard output. Returns the exit code."""
    document = json.dumps(result.document, indent=1) + "\n"
    problems = []
    # The files first, because the reader of standard output may be gone. An error in one does not affect the others.
    for option, path in files(options):
        try:
            Path(path).write_text(document if option == "--json" else result.page(), encoding="utf-8")
        except OSError as error:
            problems.append(f"{option}: cannot write {path}: {error.strerror or error}")
    try:
        sys.stdout.write(document if options.json == "-" else f"\n{result.table(sys.stdout, environ)}")
        sys.stdout.flush()
    except OSError as error:
        problems.append(f"could not write the report: {error}")
    for problem in problems:
        print(f"vespa-proxy load: {problem}", file=sys.stderr)
    return 0 if result.passed and not problems else 1
