"""The metrics of each of several backends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from vespa.accounting.backend_slots import DOWN
from vespa.accounting.workload import from_micros
from vespa.observability.metric import Description, Reading, counter, gauge
from vespa.worker.backends.affinity import Affinity
from vespa.worker.backends.backends import Backend
from vespa.worker.backends.readiness import BackendsReadiness
from vespa.worker.readiness.monitor import ReadinessMonitor

UP: Final = gauge("vespa_backend_up", "Of several backends: 1 for each that gets requests now, otherwise 0.", "backend")
AT_BACKEND: Final = gauge(
    "vespa_backend_requests_in_flight", "Of several backends: the requests that hold a slot of it.", "backend"
)
BACKEND_TUNNELS: Final = gauge("vespa_backend_tunnels", "Of several backends: its upgraded connections.", "backend")
BACKEND_WORKLOAD: Final = gauge(
    "vespa_backend_workload_in_flight", "Of several backends: the work of its requests, in units of cost.", "backend"
)
BACKEND_THROUGHPUT: Final = gauge(
    "vespa_backend_throughput", "Of several backends: the measured throughput; 0 before the measurement.", "backend"
)
MOVED: Final = counter(
    "vespa_backend_requests_moved_total",
    "Of several backends: requests that went to another one, because the connection to this one failed.",
    "backend",
)

AFFINITY: Final = counter(
    "vespa_affinity_requests_total",
    "Requests in which the value of VESPA_AFFINITY was looked for: found, or missing.",
    "result",
)


def backend_readings(readiness: BackendsReadiness | None) -> list[Reading]:
    """The metrics of each of several backends, by its name. A single backend has no samples here."""
    monitors = readiness.monitors if readiness is not None else {}

    def each(metric: Description, read: Callable[[Backend, ReadinessMonitor], float]) -> Reading:
        return Reading(metric, lambda: {backend.name: read(backend, monitor) for backend, monitor in monitors.items()})

    return [
        each(UP, lambda backend, monitor: int(backend.health != DOWN)),
        each(AT_BACKEND, lambda backend, monitor: backend.working),
        each(BACKEND_TUNNELS, lambda backend, monitor: backend.tunnels),
        each(BACKEND_WORKLOAD, lambda backend, monitor: from_micros(backend.load)),
        each(BACKEND_THROUGHPUT, lambda backend, monitor: monitor.throughput or 0.0),
        each(MOVED, lambda backend, monitor: backend.moved),
    ]


def affinity_readings(affinity: Affinity | None) -> list[Reading]:
    """The metric of affinity. Without affinity it has no samples."""
    return [Reading(AFFINITY, lambda: results(affinity) if affinity is not None else {})]


def results(affinity: Affinity) -> Mapping[str, float]:
    """The requests with the value and without, since the start."""
    return {"found": affinity.found, "missing": affinity.missing}
