"""The meter of work and the estimate of the throughput, made from the settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from vespa.accounting.fair_queue import FairQueue
from vespa.accounting.ledger import Ledger
from vespa.accounting.workload import MAX_COST
from vespa.config.worker import WorkerSettings
from vespa.observability.ended_requests import EndedRequests
from vespa.worker.recalibration import Recalibration
from vespa.worker.usage_meter import UsageMeter


def usage_meter(settings: WorkerSettings, environment: Mapping[str, str], ledger: Ledger) -> UsageMeter | None:
    """The meter of VESPA_USAGE; None if it is off. The benchmark's BENCHMARK_COUNT may decide the unit."""
    if settings.usage == "off":
        return None
    unit: str = settings.usage_count
    if unit == "auto":
        unit = "total" if environment.get("BENCHMARK_COUNT", "").strip() == "total" else "completion"
    return UsageMeter(ledger, unit, settings.max_cost or MAX_COST)


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
