"""Shows the workers of endpoints as a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from vespa.client.console import EndpointInfo
from vespa.client.endpoint_workers import EndpointWorkers, WorkerInfo, WorkersUnavailable

if TYPE_CHECKING:
    from rich.table import Table

_HEADINGS: Final = (
    *("endpoint", "worker", "status", "requests", "load", "work/s now", "work/s measured", "reliability", "disk GB"),
)


async def say_workers(
    workers: EndpointWorkers, account_key: str, endpoints: Sequence[EndpointInfo], say: Callable[[Any], object]
) -> None:
    """Ask for the workers of each endpoint, and say what came. A failure for one does not hide the others."""
    found: list[tuple[str, WorkerInfo]] = []
    notes = []
    for endpoint in endpoints:
        try:
            rows = await workers.of(endpoint.id, account_key)
        except WorkersUnavailable as error:
            notes.append(f"{endpoint.name}: {error}")
        else:
            found += [(endpoint.name, row) for row in rows]
            if not rows:
                notes.append(f"{endpoint.name}: no workers")
    if endpoints:
        say("")
    if found:
        say(worker_table(found))
    for note in notes:
        say(note)


def worker_table(rows: Sequence[tuple[str, WorkerInfo]]) -> Table:
    """Workers as a table, each with the name of its endpoint."""
    from rich.table import Column, Table  # only here, because a daemon draws nothing

    # On a narrow terminal, cells are folded and not cut.
    drawn = Table(
        *[Column(each, overflow="fold") for each in _HEADINGS], box=None, pad_edge=False, padding=(0, 2, 0, 0)
    )
    for name, row in rows:
        figures = (row.requests, row.load, row.performance_now, row.performance_measured, row.reliability, row.disk)
        drawn.add_row(
            name, row.id or "?", row.status or "?", *("-" if each is None else f"{each:.4g}" for each in figures)
        )
    return drawn
