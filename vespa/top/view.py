"""The figures of a status document as a screen, and as one table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.styled import Styled
from rich.table import Table

from vespa.top.backends_table import BackendsTable
from vespa.top.document import Document
from vespa.top.figures import figures, headline, problems
from vespa.top.units import age, duration, number

REQUESTS_LEAST: Final = 3
REQUESTS_ONCE: Final = 10
_STATES: Final = {"ready": "bold green", "errored": "bold red"}
_OUTCOMES: Final = {"failed": "red", "refused": "yellow", "cancelled": "dim"}


def view(members: Mapping[str, Any], *, height: int | None = None, below: str = "", lost: str = "") -> RenderableType:
    """
    What a terminal shows. With a `height` in lines it shows as many requests as there is room for.

    `below` is the last line. `lost`, if any, says why the figures are no longer new. Texts of the document stay
    strings: `Terminal` removes control characters from these.
    """
    document = Document(members)
    parts: list[RenderableType] = [_line(headline(document), _STATES.get(document.text("state"), "bold yellow"))]
    if lost:
        parts.append(_line(lost, "bold red"))
    for severity, text in problems(document):
        parts.append(_line(text, "red" if severity == "error" else "yellow"))
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    known = figures(document)
    for figure in known:
        grid.add_row(figure.label, figure.text)
    parts += ["", grid]
    workers, backends, requests = (document.rows(name) for name in ("workers", "backends", "requests"))
    used = len(parts) + len(known)
    if backends:
        parts += ["", BackendsTable(backends)]
        used += 2 + len(backends)
    if workers:
        parts += ["", _workers(workers)]
        used += 3 + len(workers)
    room = REQUESTS_ONCE if height is None else max(REQUESTS_LEAST, height - used - 4)
    if requests:
        parts += ["", _requests(requests[-room:], document.now)]
    if below:
        parts += ["", _line(below, "dim")]
    return Group(*parts)


def _line(text: str, style: str) -> RenderableType:
    return Styled(text, style)


def _workers(rows: list[Mapping[str, Any]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("worker", "state", "in flight", "requests", "failures", "last failure"):
        table.add_column(name, justify="right" if name in ("in flight", "requests", "failures") else "left")
    for members in rows:
        row = Document(members)
        counts = (row.number(name) for name in ("requests_in_flight", "requests_total", "failures_total"))
        table.add_row(
            row.text("url"),
            row.text("state"),
            *("" if count is None else number(count) for count in counts),
            row.text("trouble"),
            style="red" if row.text("state") == "failing" else "",
        )
    return table


def _requests(rows: list[Mapping[str, Any]], now: float) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("ended", "outcome", "status", "queue", "first byte", "total"):
        table.add_column(name, justify="left" if name == "outcome" else "right", no_wrap=True)
    table.add_column("request", overflow="ellipsis", no_wrap=True)
    for members in reversed(rows):
        row = Document(members)
        at, status = row.number("ended_at"), row.number("status")
        times = (row.number(f"{name}_seconds") for name in ("queue", "first_byte", "total"))
        words = (row.text("method"), row.text("path"), row.text("code"), row.text("upstream"))
        table.add_row(
            "" if at is None else age(max(0.0, now - at)),
            row.text("outcome"),
            f"{status:.0f}" if status else "",
            *("" if seconds is None else duration(seconds) for seconds in times),
            " ".join(filter(None, words)),
            style=_OUTCOMES.get(row.text("outcome"), ""),
        )
    return table
