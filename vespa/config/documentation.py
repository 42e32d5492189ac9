"""Makes docs/settings.md from the tables. `python -m vespa.config.documentation` writes it."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

from vespa.config.commands import BENCHMARK, CHECK, CLIENT, DEMO, LOAD, MIGRATE, TOP, WORKER
from vespa.config.schema import Option

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"

_HEAD = """\
# Settings

All options and environment variables, by command. `vespa-proxy settings` prints this page, and `--help` of a command
prints its part. `python -m vespa.config.documentation` makes the page from the tables in `vespa/config/`.

An option takes precedence over its variable. An empty value counts as not set. If there are mistakes, a command names
all of them at once, hides secrets, and does not start.
"""


def markdown() -> str:
    """The page."""
    lines = [_HEAD]
    for command in (WORKER, CLIENT, LOAD, CHECK, BENCHMARK, TOP, MIGRATE, DEMO):
        lines += [f"## `{command.command}`", "", command.description, ""]
        for section, rows in groupby(command.rows, key=lambda row: row.section):
            if section:
                lines += [f"### {section}", ""]
            lines += [*_table([row for row in rows if row.flag or row.name]), ""]
    return "\n".join(lines)


def _table(rows: list[Option]) -> Iterator[str]:
    """A table, without the columns that are empty."""
    columns = {
        "Option": [_code(*([f"-{row.short}"] if row.short else []), f"--{row.flag}" * bool(row.flag)) for row in rows],
        "Variable": [_code(row.name) + (f" (or `{row.fallback}`)" if row.fallback else "") for row in rows],
        "Default": [_code(row.default or "") for row in rows],
        "Unit": [row.unit for row in rows],
        "Meaning": [row.help + (f" {row.repeats.capitalize()}." if row.many else "") for row in rows],
    }
    shown = {name: cells for name, cells in columns.items() if any(cells)}
    yield _line(shown)
    yield "|" + "---|" * len(shown)
    yield from (_line(cells) for cells in zip(*shown.values(), strict=True))


def _code(*texts: str) -> str:
    return ", ".join(f"`{text}`" for text in texts if text)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    argparse.ArgumentParser(prog="python -m vespa.config.documentation", description=f"Write {PAGE}.").parse_args()
    PAGE.write_text(markdown(), "utf-8")
