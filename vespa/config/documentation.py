"""docs/settings.md, which is made of the tables: `python -m vespa.config.documentation` writes it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

from vespa.config.commands import CLIENT, DEMO, LOAD, WORKER
from vespa.config.schema import Option

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"

_HEAD = """\
# Settings

Everything that can be set, by command. `vespa-proxy settings` prints this page, and `--help` of each command its part.
It is made from the tables in `vespa/config/` by `python -m vespa.config.documentation`.

A command line goes before the environment. What is empty counts as not set. Mistakes are named all at once, with
the name of each and without any secret, and no command starts with one.
"""


def markdown() -> str:
    """The page."""
    lines = [_HEAD]
    for command in (WORKER, CLIENT, LOAD, DEMO):
        lines += [f"## `{command.command}`", "", command.description, ""]
        for section, rows in groupby(command.rows, key=lambda row: row.section):
            if section:
                lines += [f"### {section}", ""]
            lines += [*_table([row for row in rows if row.flag or row.name]), ""]
    return "\n".join(lines)


def _table(rows: list[Option]) -> Iterator[str]:
    """A table; columns in which no row has anything are left out."""
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
    PAGE.write_text(markdown(), "utf-8")
