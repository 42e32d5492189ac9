"""Describes the reports in the simulated service in a few words each."""

from __future__ import annotations

from vespa.simulator.autoscaler import Report
from vespa.simulator.reports import DeleteRequests, Malformed, WorkerStatus

_PAST = {"Success": "served", "Error": "failed", "Cancelled": "cancelled", "Rejected": "rejected"}


def describe(report: Report) -> str:
    """A worker's report as a text. Work is in units, as in the costs of requests."""
    if isinstance(report, Malformed):
        return f"malformed report: {report}"
    if isinstance(report, DeleteRequests):
        told = ", ".join(f"request {record.request_idx} {_PAST[record.status]}" for record in report.requests)
        return f"reports as finished: {told}"
    return f"reports: {_describe_status(report)}"


def units(amount: float) -> str:
    """An amount of work as a text, such as `1 unit`."""
    return f"{amount:g} unit" if amount == 1 else f"{amount:g} units"


def _describe_status(status: WorkerStatus) -> str:
    if status.error_msg:
        return f"error: {status.error_msg}"
    if status.max_perf == 0:
        return "loading"
    if status.loadtime > 0:
        return f"ready after {status.loadtime:.1f} s; its benchmark did {status.max_perf:.0f} units a second"
    work = {"received": status.new_load, "served": status.cur_perf, "rejected": status.rej_load}
    said = ", ".join(f"{units(amount)} {name}" for name, amount in work.items() if amount)
    in_flight = f"{units(status.cur_load)} in flight now" if status.cur_load else ""
    since = f"{said} since the last report" if said else ""
    return "; ".join(filter(None, [since, in_flight])) or "idle"
