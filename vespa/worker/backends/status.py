"""What the status document says of each of several backends."""

from __future__ import annotations

from typing import Any, Final

from vespa.accounting.workload import from_micros
from vespa.worker.backends.affinity import Affinity
from vespa.worker.backends.backends import Backend
from vespa.worker.backends.readiness import BackendsReadiness
from vespa.worker.problems import Problem
from vespa.worker.readiness.monitor import ReadinessMonitor

AFFINITY_REQUESTS: Final = 100
"""After so many requests without the value of VESPA_AFFINITY, and none with it, its name is taken for wrong."""


def backend_rows(readiness: BackendsReadiness | None) -> list[dict[str, Any]]:
    """A row for each backend, in the order of the settings; none if there is only one backend."""
    if readiness is None:
        return []
    return [_row(backend, monitor) for backend, monitor in readiness.monitors.items()]


def _row(backend: Backend, monitor: ReadinessMonitor) -> dict[str, Any]:
    newest, probe = monitor.history.changes.newest, monitor.history.last_probe
    return {
        "name": backend.name,
        "url": backend.origin.url,
        "state": monitor.state,
        "state_reason": newest.reason if newest is not None else "",
        "state_since_at": newest.at if newest is not None else None,
        "requests_in_flight": backend.working,
        "tunnels": backend.tunnels,
        "load": from_micros(backend.load),
        "throughput": monitor.throughput,
        "connections_open": backend.pool.size,
        "connections_idle": backend.pool.idle,
        "requests_moved_total": backend.moved,
        "probe_at": probe.at if probe else None,
        "probe_seconds": probe.seconds if probe else None,
    }


def backend_problems(readiness: BackendsReadiness | None) -> list[Problem]:
    """The backends that are left out. If all are, the state of the worker says so."""
    if readiness is None or not readiness.ready:
        return []
    return [
        Problem("warning", f"The backend {row['name']} is {row['state']} and gets no requests{_because(row)}.")
        for row in backend_rows(readiness)
        if row["state"] not in ("ready", "suspect")
    ]


def affinity_problems(affinity: Affinity | None) -> list[Problem]:
    """Whether the name of the value seems to be wrong: many requests came, and none has it."""
    if affinity is None or affinity.found or affinity.missing < AFFINITY_REQUESTS:
        return []
    text = (
        f"VESPA_AFFINITY={affinity.key}: none of {affinity.missing:,} requests had this value, so work is shared by "
        "load alone. Check the name."
    )
    return [Problem("warning", text)]


def _because(row: dict[str, Any]) -> str:
    reason: str = row["state_reason"]
    return f": {reason.rstrip('.')}" if reason else ""
