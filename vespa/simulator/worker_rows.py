"""The workers of an endpoint, in the form of the autoscaler's `/get_endpoint_workers/`."""

from __future__ import annotations

from typing import Any

from vespa.accounting.workload import from_micros
from vespa.simulator.worker_totals import EndpointTotals


def worker_rows(totals: EndpointTotals, now: float) -> list[dict[str, Any]]:
    """One object for each worker. A figure that the simulator does not have is 0."""
    return [
        {
            "id": worker.id,
            "status": worker.state(now, totals.stale_after),
            "cur_load": from_micros(worker.in_flight),
            "new_load": from_micros(worker.assigned_since),
            "cur_load_rolling_avg": 0.0,
            "cur_perf": 0.0,
            "perf": worker.max_perf,
            "measured_perf": worker.max_perf,
            "dlperf": 0.0,
            "reliability": 1.0,
            "reqs_working": worker.requests_working,
            "disk_usage": 0.0,
            "loaded_at": 0.0,
            "started_at": 0.0,
        }
        for worker in totals.workers.values()
    ]
