"""The autoscaler's totals of its workers: the sums of their reports, and whether the sums agree."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal

from attrs import asdict, define, field, frozen

from vespa.accounting.workload import from_micros, to_micros
from vespa.simulator.reports import DeleteRequests, WorkerStatus

State = Literal["ready", "loading", "standby", "error"]
TOLERANCE = 1000  # the maximum difference of sums in millionths of a unit, because reports carry floats
SHOWN = (
    *("url", "version", "reports", "error_msg", "loadtime", "loadtimes_told", "max_perf", "duplicates"),
    *("requests_received", "requests_working", "working_request_idxs"),
)
"""The fields of a worker that the ledger shows unchanged."""


@frozen
class Balance:
    """A worker's work in units, by its result. Exact when the worker is idle and has reported.

    `received` is the sum of `new_load`, from which a worker subtracts cancelled or expired work if it still can. The
    rest is in `unsettled`, which is never more than the cancelled and rejected work. `lost` is the work in flight when
    a worker's process ended without a report. `unserved` is work that was reported as finished with success but not as
    served: the backend answered 4xx or 5xx. `inside` is work of requests inside sessions, which are not reported as
    finished; what of it was not served is in `unsettled`, too.
    """

    received: float
    served: float
    inside: float
    unserved: float
    failed: float
    in_flight: float
    lost: float
    cancelled: float
    rejected: float
    unsettled: float
    adds_up: bool


@define
class WorkerTotals:
    """
    Everything that one worker reported. Amounts of work are in millionths of a unit.

    `sessions` are the requests for sessions, which the reports do not tell from others.
    """

    id: int
    url: str = ""
    version: str = ""
    reports: int = 0
    last_report_at: float = 0.0
    received: int = 0
    served: int = 0
    rejected: int = 0
    in_flight: int = 0
    lost: int = 0
    assigned_since: int = 0
    max_perf: float = 0.0
    loadtime: float = 0.0
    loadtimes_told: int = 0
    error_msg: str = ""
    requests_received: int = 0
    requests_working: int = 0
    working_request_idxs: tuple[int, ...] = ()
    gone: bool = False
    deletes: dict[int, list[str]] = field(factory=dict)
    sessions: set[int] = field(factory=set)

    def take(self, status: WorkerStatus, now: float) -> None:
        """Record a report of the state."""
        if status.num_requests_recieved < self.requests_received:
            self.loadtime = 0.0  # the count falls only after a restart of the worker, which then has to load again
            self.lost += self.in_flight
        self.gone = False
        self.url, self.version = status.url, status.version
        self.reports += 1
        self.last_report_at = now
        self.received += to_micros(status.new_load)
        self.served += to_micros(status.cur_perf)
        self.rejected += to_micros(status.rej_load)
        self.in_flight = to_micros(status.cur_load)
        self.assigned_since = 0
        self.max_perf = status.max_perf
        self.error_msg = status.error_msg
        self.requests_received = status.num_requests_recieved
        self.requests_working = status.num_requests_working
        self.working_request_idxs = status.working_request_idxs
        if status.loadtime > 0:
            self.loadtime = status.loadtime
            self.loadtimes_told += 1

    def take_deletes(self, report: DeleteRequests) -> None:
        """Record a report of finished requests."""
        for record in report.requests:
            self.deletes.setdefault(record.request_idx, []).append(record.status)

    def ready(self, now: float, stale_after: float) -> bool:
        """Whether requests may go there: loaded, healthy, measured, and reported in the last `stale_after` seconds."""
        return self.state(now, stale_after) == "ready"

    def state(self, now: float, stale_after: float) -> State:
        """Its state for the autoscaler; `standby` means that it does not report."""
        if self.gone or now - self.last_report_at > stale_after:
            return "standby"
        if self.error_msg:
            return "error"
        return "ready" if self.loadtime > 0 and self.max_perf > 0 else "loading"

    @property
    def wait(self) -> float:
        """Seconds of work before a new request, including the work assigned since the last report."""
        return from_micros(self.in_flight + self.assigned_since) / max(self.max_perf, 1e-5)

    @property
    def duplicates(self) -> list[int]:
        """Request indices that were deleted more than once."""
        return sorted(idx for idx, statuses in self.deletes.items() if len(statuses) > 1)

    def outcomes(self) -> Counter[str]:
        """The number of deletes with each status."""
        return Counter(status for statuses in self.deletes.values() for status in statuses)

    def balance(self, costs: Mapping[int, float]) -> Balance:
        """Compare the reported sums with the deletes and the costs of requests; an unknown request costs 0."""
        by_status: Counter[str] = Counter()
        for idx, statuses in self.deletes.items():
            for status in statuses:
                by_status[status] += to_micros(costs.get(idx, 0.0))
        has_sessions = not self.sessions.isdisjoint((*self.deletes, *self.working_request_idxs))
        inside = max(0, self.served - by_status["Success"]) if has_sessions else 0
        unserved = by_status["Success"] - (self.served - inside)
        unsettled = self.received - inside - by_status["Success"] - by_status["Error"] - self.in_flight - self.lost
        room = math.inf if has_sessions else by_status["Cancelled"] + by_status["Rejected"]
        agrees = -TOLERANCE <= unsettled <= room + TOLERANCE and unserved >= -TOLERANCE
        return Balance(
            received=from_micros(self.received),
            served=from_micros(self.served),
            inside=from_micros(inside),
            unserved=from_micros(unserved),
            failed=from_micros(by_status["Error"]),
            in_flight=from_micros(self.in_flight),
            lost=from_micros(self.lost),
            cancelled=from_micros(by_status["Cancelled"]),
            rejected=from_micros(self.rejected),
            unsettled=from_micros(unsettled),
            adds_up=agrees,
        )


class EndpointTotals:
    """The totals of all workers, by id; the cost of each assigned request, and the workers it was assigned to.

    A worker without a report for `stale_after` seconds gets no more requests. It may be changed at any time.
    """

    def __init__(self, stale_after: float = 30.0) -> None:
        self.workers: dict[int, WorkerTotals] = {}
        self.costs: dict[int, float] = {}
        self.assigned: dict[int, list[int]] = {}
        self.sessions: set[int] = set()
        """The requests for sessions. Only their callers know them."""
        self.stale_after = stale_after

    def of(self, worker_id: int) -> WorkerTotals:
        """The totals of one worker, made at its first report."""
        return self.workers.setdefault(worker_id, WorkerTotals(worker_id, sessions=self.sessions))

    def least_loaded(self, now: float, request_idx: int = 0) -> WorkerTotals | None:
        """The ready worker with the least work in seconds; None if none is ready.

        A request that already had a worker gets another one if possible: it asks again only after a failure.
        """
        before = self.assigned.get(request_idx, [])
        ready = [worker for worker in self.workers.values() if worker.ready(now, self.stale_after)]
        return min(ready, key=lambda worker: (worker.id in before[-1:], worker.wait, worker.id), default=None)

    def states(self, now: float) -> Counter[State]:
        """The number of workers in each state."""
        return Counter(worker.state(now, self.stale_after) for worker in self.workers.values())

    def assign(self, worker: WorkerTotals, request_idx: int, cost: float) -> None:
        """Record that a request was sent to a worker. Until the worker reports, it counts as its load."""
        worker.assigned_since += to_micros(cost)
        self.assigned.setdefault(request_idx, []).append(worker.id)

    def finished(self) -> dict[int, list[int]]:
        """The workers that reported each request as finished: one, if all is well."""
        told: dict[int, list[int]] = {}
        for worker in self.workers.values():
            for idx, statuses in worker.deletes.items():
                told.setdefault(idx, []).extend([worker.id] * len(statuses))
        return told

    def twice(self) -> list[int]:
        """Request indices that were reported as finished more than once, by any workers."""
        return sorted(idx for idx, workers in self.finished().items() if len(workers) > 1)

    def adds_up(self, now: float) -> bool:
        """Whether no request was reported twice, and the totals of all workers that still report add up."""
        heard = [worker for worker in self.workers.values() if worker.state(now, self.stale_after) != "standby"]
        return not self.twice() and all(worker.balance(self.costs).adds_up for worker in heard)

    def as_json(self, now: float) -> dict[str, Any]:
        """All totals as JSON values."""
        return {
            str(worker.id): {
                **{name: getattr(worker, name) for name in SHOWN},
                **asdict(worker.balance(self.costs)),
                "ready": worker.ready(now, self.stale_after),
                "deletes": {str(idx): statuses for idx, statuses in worker.deletes.items()},
                "outcomes": dict(worker.outcomes()),
                "unknown": sorted(idx for idx in worker.deletes if idx not in self.costs),
            }
            for worker in self.workers.values()
        }
