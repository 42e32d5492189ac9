"""The meter of work and the estimate of the throughput, made from the settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import frozen
from twisted.application.service import IService

from vespa.accounting.backend_queue import BackendQueue
from vespa.accounting.fair_queue import FairQueue
from vespa.accounting.ledger import Ledger
from vespa.accounting.workload import MAX_COST
from vespa.config.worker import WorkerSettings
from vespa.observability.ended_requests import EndedRequests
from vespa.proxy.exchange import Exchange
from vespa.vast.status_report import Condition
from vespa.worker.backends.setup import BackendParts
from vespa.worker.response_readers import ReaderOf
from vespa.worker.usage.meter import FreeLoad, UsageMeter
from vespa.worker.usage.recalibration import Recalibration


@frozen
class UsageParts:
    """What measures the work of requests: each is None if its setting is off."""

    meter: UsageMeter | None
    recalibration: Recalibration | None

    @property
    def reader(self) -> ReaderOf | None:
        """What reads responses for their tokens."""
        return self.meter.reader if self.meter is not None else None

    def limit(self, max_cost: float) -> None:
        """The highest cost of a request, in units, has changed. No response is believed more work."""
        if self.meter is not None:
            self.meter.most = max_cost

    def condition(self, condition: Condition) -> Condition:
        """The condition that is reported, with the estimated throughput."""
        return condition if self.recalibration is None else self.recalibration.condition(condition)

    @property
    def services(self) -> list[IService]:
        """The services: they act on the gate."""
        return [] if self.recalibration is None else [self.recalibration]


def usage_parts(
    reactor: Any,
    settings: WorkerSettings,
    environment: Mapping[str, str],
    ledger: Ledger,
    backend: BackendParts,
    ended: EndedRequests,
) -> UsageParts:
    """The parts that the settings name."""
    readiness = backend.readiness
    return UsageParts(
        usage_meter(settings, environment, ledger, backend.upstreams.gate),
        recalibration(reactor, settings, backend.upstreams.gate, ledger, lambda: readiness.throughput, ended),
    )


def usage_meter(
    settings: WorkerSettings, environment: Mapping[str, str], ledger: Ledger, gate: FairQueue[Exchange]
) -> UsageMeter | None:
    """The meter of VESPA_USAGE; None if it is off. The benchmark's BENCHMARK_COUNT may decide the unit."""
    if settings.usage == "off":
        return None
    unit: str = settings.usage_count
    if unit == "auto":
        unit = "total" if environment.get("BENCHMARK_COUNT", "").strip() == "total" else "completion"
    return UsageMeter(ledger, unit, settings.max_cost or MAX_COST, free_load(ledger, gate))


def free_load(ledger: Ledger, gate: FairQueue[Exchange]) -> FreeLoad:
    """What is called with work that is done: the ledger, and also the gate if it charges work to several backends."""
    if not isinstance(gate, BackendQueue):
        return ledger.free_load

    def free(exchange: Exchange, work: int) -> None:
        ledger.free_load(exchange, work)
        gate.lower_charge(exchange, exchange.work - work)

    return free


def recalibration(
    reactor: Any,
    settings: WorkerSettings,
    gate: FairQueue[Any],
    ledger: Ledger,
    figure: Callable[[], float | None],
    ended: EndedRequests,
) -> Recalibration | None:
    """The service of VESPA_RECALIBRATE; None if it is off."""
    if not settings.recalibrate or not settings.benchmark:
        return None
    service = Recalibration(reactor, gate, ledger, figure, measures=settings.usage != "off")
    ended.subscribe(service.take)
    return service
