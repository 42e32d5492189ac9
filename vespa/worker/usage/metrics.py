"""The metrics of measured work, and of the estimated throughput."""

from __future__ import annotations

from typing import Final

from vespa.accounting.workload import from_micros
from vespa.observability.metric import Reading, counter, gauge
from vespa.worker.usage.meter import UsageMeter
from vespa.worker.usage.recalibration import Recalibration

THROUGHPUT_ESTIMATE: Final = gauge(
    "vespa_throughput_estimate",
    "Units done in a second, as estimated from requests: of work, and of signed cost; none without an estimate.",
    "kind",
)
USAGE_RESPONSES: Final = counter(
    "vespa_usage_responses_total",
    "Responses read for the tokens that they report: measured, or unmeasured if they report none.",
    "result",
)
USAGE_WORK: Final = counter(
    "vespa_usage_work_total",
    "Work of measured responses in units of cost: measured by their tokens, and signed by the autoscaler.",
    "kind",
)


def usage_readings(usage: UsageMeter | None, recalibration: Recalibration | None) -> list[Reading]:
    """These metrics. What is off has no samples."""

    def estimates() -> dict[str, float]:
        if recalibration is None or not recalibration.benchmark:
            return {}
        return {"work": recalibration.throughput, "cost": recalibration.admission_throughput}

    def responses() -> dict[str, float]:
        return {"measured": usage.measured, "unmeasured": usage.unmeasured} if usage is not None else {}

    def work() -> dict[str, float]:
        if usage is None:
            return {}
        return {"measured": from_micros(usage.measured_work), "signed": from_micros(usage.signed_work)}

    return [
        Reading(THROUGHPUT_ESTIMATE, estimates),
        Reading(USAGE_RESPONSES, responses),
        Reading(USAGE_WORK, work),
    ]
