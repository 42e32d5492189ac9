"""What the autoscaler knows of its workers: the sum of their reports, and whether the sums agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal

from attrs import asdict, define, field, frozen

from vespa.accounting.workload import from_micros, to_micros
from vespa.simulator.reports import DeleteRequests, WorkerStatus

State = Literal["ready", "loading", "standby", "error"]
TOLERANCE = 1000
"""Millionths of a unit that sums may differ by: reports carry floats."""
SHOWN = (
    *("url", "version", "reports", "error_msg", "loadtime", "loadtimes_told", "max_perf", "duplicates"),
    *("requests_received", "requests_working", "working_request_idxs"),
)
"""What the ledger tells of a worker as it is."""


@frozen
class Balance:
    """A worker's work in units, by what became of it. True to the last unit once the worker is idle and has reported.

    `received` is the sum of `new_load`, from which a worker takes what was cancelled or expired when it still can;
    what it could not take any more is left over in `unsettled`, never more than was cancelled or rejected.
    `lost` is what was in flight when a life of the worker ended without a word. `unserved` is work that was told
    finished with success and yet not as served: the backend answered 4xx or 5xx.
    """

    received: float
    served: float
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
    """Everything one worker reported. Amounts of work are in millionths of a unit."""

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

    def take(self, status: WorkerStatus, now: float) -> None:
        """Book a report of state."""
        if status.num_requests_recieved < self.requests_received:
            self.loadtime = 0.0  # the count only falls when the worker began a new life, which has yet to load
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
        """Book a report of finished requests."""
        for record in report.requests:
            self.deletes.setdefault(record.request_idx, []).append(record.status)

    def ready(self, now: float, stale_after: float) -> bool:
        """Whether requests may go there: loaded, well, measured, and reported in the last `stale_after` seconds."""
        return self.state(now, stale_after) == "ready"

    def state(self, now: float, stale_after: float) -> State:
        """In what state the autoscaler takes it to be; `standby` is one that is silent."""
        if self.gone or now - self.last_report_at > stale_after:
            return "standby"
        if self.error_msg:
            return "error"
        return "ready" if self.loadtime > 0 and self.max_perf > 0 else "loading"

    @property
    def wait(self) -> float:
        """Seconds of work ahead of a new request, what was assigned since the last report included."""
        return from_micros(self.in_flight + self.assigned_since) / max(self.max_perf, 1e-5)

    @property
    def duplicates(self) -> list[int]:
        """Request indices that were deleted more than once."""
        return sorted(idx for idx, statuses in self.deletes.items() if len(statuses) > 1)

    def outcomes(self) -> Counter[str]:
        """How many deletes there were of each status."""
        return Counter(status for statuses in self.deletes.values() for status in statuses)

    def balance(self, costs: Mapping[int, float]) -> Balance:
        """Compare the reported sums with the deletes, given what each request costs; an unknown request costs 0."""
        by_status: Counter[str] = Counter()
        for idx, statuses in self.deletes.items():
            for status in statuses:
                by_status[status] += to_micros(costs.get(idx, 0.0))
        unserved = by_status["Success"] - self.served
        unsettled = self.received - by_status["Success"] - by_status["Error"] - self.in_flight - self.lost
        room = by_status["Cancelled"] + by_status["Rejected"]
        agrees = -TOLERANCE <= unsettled <= room + TOLERANCE and unserved >= -TOLERANCE
        return Balance(
            received=from_micros(self.received),
            served=from_micros(self.served),
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
    """The totals of all workers, by their id; what each assigned request costs, and the workers it was assigned to.

    A worker that was silent for `stale_after` seconds is given nothing more; it may be changed at any time.
    """

    def __init__(self, stale_after: float = 30.0) -> None:
        self.workers: dict[int, WorkerTotals] = {}
        self.costs: dict[int, float] = {}
        self.assigned: dict[int, list[int]] = {}
        self.stale_after = stale_after

    def of(self, worker_id: int) -> WorkerTotals:
        """The totals of one worker, which begin with its first report."""
        return self.workers.setdefault(worker_id, WorkerTotals(worker_id))

    def least_loaded(self, now: float, request_idx: int = 0) -> WorkerTotals | None:
        """The ready worker with the least work ahead, by the seconds it takes; None while none is ready.

        A request that had a worker already gets another, if there is one: it would not ask again had all gone well.
        """
        before = self.assigned.get(request_idx, [])
        ready = [worker for worker in self.workers.values() if worker.ready(now, self.stale_after)]
        return min(ready, key=lambda worker: (worker.id in before[-1:], worker.wait, worker.id), default=None)

    def states(self, now: float) -> Counter[State]:
        """How many workers there are in each state."""
        return Counter(worker.state(now, self.stale_after) for worker in self.workers.values())

    def assign(self, worker: WorkerTotals, request_idx: int, cost: float) -> None:
        """Record that a request was sent to a worker; until it reports, that counts as its load."""
        worker.assigned_since += to_micros(cost)
        self.assigned.setdefault(request_idx, []).append(worker.id)

    def finished(self) -> dict[int, list[int]]:
        """The workers that told each request finished: one, if all is well."""
        told: dict[int, list[int]] = {}
        for worker in self.workers.values():
            for idx, statuses in worker.deletes.items():
                told.setdefault(idx, []).extend([worker.id] * len(statuses))
        return told

    def twice(self) -> list[int]:
        """Request indices that were told finished more than once, by whichever workers."""
        return sorted(idx for idx, workers in self.finished().items() if len(workers) > 1)

    def adds_up(self, now: float) -> bool:
        """Whether nothing was told twice, and the totals of all workers that still report add up."""
        heard = [worker for worker in self.workers.values() if worker.state(now, self.stale_after) != "standby"]
        return not self.twice() and all(worker.balance(self.costs).adds_up for worker in heard)

    def as_json(self, now: float) -> dict[str, Any]:
        """All of it as JSON values."""
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
