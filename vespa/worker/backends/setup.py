"""The way to one backend or to several, made from the settings: connections, gate and readiness."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from attrs import frozen

from vespa.accounting.fair_queue import FairQueue
from vespa.benchmarking.contract import Figure
from vespa.config.worker import WorkerSettings
from vespa.http.connection_pool import ConnectionPool
from vespa.http.interfaces import UpstreamError
from vespa.http.limits import PoolLimits
from vespa.http.pool_counts import PoolCounts
from vespa.proxy.exchange import Exchange
from vespa.worker.access import BackendAccess, backend_access
from vespa.worker.backends.affinity import Affinity
from vespa.worker.backends.backends import Backend, Backends, names_of
from vespa.worker.backends.one_upstream import OneUpstream
from vespa.worker.backends.readiness import BackendsReadiness
from vespa.worker.readiness.monitor import ReadinessMonitor
from vespa.worker.readiness.setup import readiness_monitor


@frozen
class BackendParts:
    """
    What leads to the backends.

    `accesses` are the ways of the worker's own requests, in the order of the settings, by `Exchange.backend`, which is
    None if there is only one. `readiness` is a service.
    """

    upstreams: OneUpstream | Backends
    readiness: ReadinessMonitor | BackendsReadiness
    accesses: Mapping[Backend | None, BackendAccess]

    @property
    def first(self) -> BackendAccess:
        """The way of the worker's own requests to the first backend."""
        return next(iter(self.accesses.values()))

    @property
    def several(self) -> BackendsReadiness | None:
        """The readiness of several backends; None if there is only one."""
        return self.readiness if isinstance(self.readiness, BackendsReadiness) else None

    @property
    def affinity(self) -> Affinity | None:
        """How requests with the same value go together; None if they do not, or if there is only one backend."""
        return self.upstreams.affinity if isinstance(self.upstreams, Backends) else None

    def close(self) -> None:
        """Close idle connections now, and the others when their responses end."""
        for pool in self.upstreams.pools:
            pool.close()


def backend_parts(
    reactor: Any,
    settings: WorkerSettings,
    environment: Mapping[str, str],
    on_throughput: Callable[[float], None],
) -> BackendParts:
    """
    The parts for the backends of `settings`. Raises like `backend_access`.

    `on_throughput` is called with the measured throughput, and again whenever the sum of several changes.
    """
    if len(settings.backend_urls) > 1:
        return _several(reactor, settings, environment, on_throughput)
    access = backend_access(reactor, settings, environment)
    pool = _pool(reactor, settings, access)
    gate: FairQueue[Exchange] = FairQueue(_max_wait(settings), settings.concurrency, settings.max_queue)

    def measured(throughput: float | None) -> None:
        if throughput is not None:
            gate.throughput = throughput
            on_throughput(throughput)

    monitor = readiness_monitor(reactor, settings, environment, measured, access)
    pool.on_trouble = partial(on_trouble, monitor)
    return BackendParts(OneUpstream(pool, access.origin, gate), monitor, {None: access})


def _several(
    reactor: Any, settings: WorkerSettings, environment: Mapping[str, str], on_throughput: Callable[[float], None]
) -> BackendParts:
    accesses = [backend_access(reactor, settings, environment, backend) for backend in settings.backend_urls]
    names = names_of([access.origin for access in accesses])
    counts = PoolCounts()
    each = [
        Backend(access.origin, name, _pool(reactor, settings, access, name, counts), settings.concurrency)
        for access, name in zip(accesses, names, strict=True)
    ]
    backends = Backends(
        each,
        reactor,
        max_wait_seconds=_max_wait(settings),
        slots=settings.concurrency,
        max_queue=settings.max_queue,
        affinity=settings.affinity,
    )

    def measured(throughput: float) -> None:
        backends.gate.throughput = throughput
        on_throughput(throughput)

    monitors = {}
    for backend, access in zip(each, accesses, strict=True):
        speed = partial(backends.gate.set_throughput, backend)
        monitor = readiness_monitor(reactor, settings, environment, speed, access, name=backend.name)
        backend.pool.on_trouble = partial(on_trouble, monitor)
        monitors[backend] = monitor
    readiness = BackendsReadiness(
        reactor, monitors, set_health=backends.set_health, on_throughput=measured, add=total_of
    )
    return BackendParts(backends, readiness, dict(zip(each, accesses, strict=True)))


def total_of(figures: Sequence[float]) -> Figure:
    """The figure of several backends together. They serve one model, if all that are known are the same."""
    served = {getattr(figure, "served", "") for figure in figures}
    return Figure(
        sum(figures),
        sum(getattr(figure, "concurrency", 0) for figure in figures),
        served.pop() if len(served) == 1 else "",
    )


def on_trouble(monitor: ReadinessMonitor, error: UpstreamError) -> None:
    """Probe the backend at once after a failed connection."""
    if error.refused:
        monitor.connection_refused(str(error))
    else:
        monitor.connection_broke()


def _max_wait(settings: WorkerSettings) -> float | None:
    return settings.max_wait_time if settings.benchmark else None


def _pool(
    reactor: Any, settings: WorkerSettings, access: BackendAccess, name: str = "", counts: PoolCounts | None = None
) -> ConnectionPool:
    return ConnectionPool(
        access.origin.endpoint(reactor, settings.backend_connect_timeout, access.trust),
        reactor,
        PoolLimits(
            head_bytes=settings.backend_head_limit,
            head_fields=settings.head_fields,
            idle_seconds=settings.backend_keepalive,
            connections=settings.backend_connection_limit,
        ),
        address=name,
        counts=counts,
    )
