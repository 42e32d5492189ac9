"""The table of a worker's backends, if it has several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table

from vespa.top.document import Document
from vespa.top.units import number

_HEADERS: Final = ("backend", "state", "in flight", "load", "units/s", "moved")
_COUNTS: Final = ("requests_in_flight", "load", "throughput", "requests_moved_total")
_LEAST: Final = 2
"""The number of columns that are always there: they say which backend is well."""
_NAME: Final = 24
"""The columns of the terminal that a name may have before others are left out for it. A longer one is folded."""
_PADDING: Final = 2
_STYLES: Final = {"ready": "", "errored": "red"}


class BackendsTable:
    """
    A row for each backend: its state, its requests and their work, its measured throughput, the requests that moved.

    In a narrow terminal the columns at the right are left out, so that no number is cut. Why a backend is left out is
    among the problems of the document.
    """

    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """`rows` are the objects of `backends` in the document."""
        self._rows = [_cells(Document(members)) for members in rows]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        widths = [max(map(cell_len, column)) + _PADDING for column in zip(_HEADERS, *self._rows, strict=True)]
        widths[0] = min(widths[0], _NAME + _PADDING)
        shown = len(_HEADERS)
        while shown > _LEAST and sum(widths[:shown]) > options.max_width:
            shown -= 1
        table = Table(box=None, padding=(0, _PADDING, 0, 0), header_style="dim")
        for header in _HEADERS[:shown]:
            if header == "backend":
                table.add_column(header, overflow="fold")
            else:
                table.add_column(header, justify="left" if header == "state" else "right", no_wrap=True)
        for cells in self._rows:
            table.add_row(*cells[:shown], style=_STYLES.get(cells[1], "yellow"))
        yield table


def _cells(row: Document) -> list[str]:
    counts = (row.number(name) for name in _COUNTS)
    return [row.text("name"), row.text("state"), *("" if count is None else number(count) for count in counts)]
