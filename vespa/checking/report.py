"""Shows what the worker's first report to the autoscaler would say, without sending it."""

from __future__ import annotations

import json
from typing import Any, Final

from vespa.accounting.ledger import Ledger
from vespa.checking.finding import Finding, failed, ok
from vespa.config.worker import WorkerSettings
from vespa.vast.status_report import Condition, worker_status
from vespa.worker.obstacles import unreachable

MASKED: Final = "***"


def check_report(
    settings: WorkerSettings, *, problem: str, throughput: float, disk_usage: float
) -> tuple[list[Finding], dict[str, Any] | None]:
    """
    The finding and the report; no report without an identity.

    `problem` is the error with which the worker would start, or "". `throughput` is the kept result of the benchmark,
    0.0 without one; the worker reports it once the backend is healthy. `disk_usage` is in GB.
    """
    identity = settings.identity
    if identity is None:
        return [ok("report", "none is sent, because CONTAINER_ID and MASTER_TOKEN are not set")], None
    hidden = unreachable(settings)
    error = problem or hidden
    condition = Condition(loadtime=0.0, max_perf=0.0 if error else throughput, error_msg=error, ready=False)
    body = worker_status(
        identity,
        condition,
        Ledger(1).snapshot(),
        disk_usage=round(disk_usage, 1),
        additional_disk_usage=0.0,
        loadtime=0.0,
    )
    report = {**json.loads(body), "mtoken": MASKED}
    where = f"to {settings.report_addr[0]}/worker_status/ as worker {identity.id}"
    if hidden:
        advice = "unset VESPA_UNSECURED for a worker of an endpoint, or unset CONTAINER_ID to send no reports"
        return [failed("report", f"{where}, with an error: {hidden.partition(': unset')[0]}", advice)], report
    if error:
        why = f"{where}, with an error: the worker cannot start like this"
        return [failed("report", why, "correct what failed above")], report
    return [ok("report", f"{where}, with the URL {identity.url}")], report
