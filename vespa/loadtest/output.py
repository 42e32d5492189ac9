"""Where a report goes: files, and standard output."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from attrs import asdict

from vespa.config.load import LoadSettings
from vespa.loadtest.page import page
from vespa.loadtest.report import Report
from vespa.loadtest.text import table
from vespa.loadtest.thresholds import check, passed


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


def write(report: Report, options: LoadSettings, environ: Mapping[str, str]) -> int:
    """Write the report to its files and to standard output. Returns the exit code."""
    checks = check(report, options.fail_if)
    document = json.dumps({**report.to_json(), "thresholds": [asdict(each) for each in checks]}, indent=1) + "\n"
    problems = []
    # The files first, because the reader of standard output may be gone. An error in one does not affect the others.
    for option, path in files(options):
        try:
            Path(path).write_text(document if option == "--json" else page(report, checks), encoding="utf-8")
        except OSError as error:
            problems.append(f"{option}: cannot write {path}: {error.strerror or error}")
    try:
        sys.stdout.write(document if options.json == "-" else f"\n{table(report, sys.stdout, environ, checks)}")
        sys.stdout.flush()
    except OSError as error:
        problems.append(f"could not write the report: {error}")
    for problem in problems:
        print(f"vespa-proxy load: {problem}", file=sys.stderr)
    return 0 if passed(report, options.fail_if) and not problems else 1
