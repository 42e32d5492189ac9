"""One neat line for each thing that the autoscaler is told."""

from __future__ import annotations

from vespa.simulator.autoscaler import Report
from vespa.simulator.reports import DeleteRequests, Malformed, WorkerStatus


def describe(report: Report) -> str:
    """What a report says, in a few words."""
    if isinstance(report, Malformed):
        return f"malformed report: {report}"
    if isinstance(report, DeleteRequests):
        return ", ".join(f"request {record.request_idx} {_PAST[record.status]}" for record in report.requests)
    return _describe_status(report)


_PAST = {"Success": "served", "Error": "failed", "Cancelled": "cancelled", "Rejected": "rejected"}


def _describe_status(status: WorkerStatus) -> str:
    if status.error_msg:
        return f"error: {status.error_msg}"
    if status.max_perf == 0:
        return "loading"
    if status.loadtime > 0:
        return f"ready after {status.loadtime:.1f} s; does {status.max_perf:.0f} units of work a second"
    work = {
        "received": status.new_load,
        "served": status.cur_perf,
        "rejected": status.rej_load,
        "now in flight": status.cur_load,
    }
    said = ", ".join(f"{amount:g} {name}" for name, amount in work.items() if amount)
    return f"units of work since the last report: {said}" if said else "idle"
