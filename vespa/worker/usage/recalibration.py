"""Applies the estimates of the true throughput: to admission, and to what the autoscaler is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import attrs
from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime

from vespa.accounting.fair_queue import FairQueue
from vespa.accounting.ledger import Ledger
from vespa.accounting.lifecycle import SERVED
from vespa.accounting.throughput_estimate import Load, ThroughputEstimate
from vespa.accounting.workload import from_micros
from vespa.http.coarse_timer import CoarseTimer
from vespa.vast.status_report import Condition

LEAST_CHANGE: Final = 0.01
"""A smaller change of a factor is not applied, because each change is a report to the autoscaler."""

_WORK: Final = frozenset((b"POST", b"PUT", b"PATCH"))
"""Methods of requests that are work. A GET asks for the result of another request, or for a list."""


class Recalibration(Service):
    """
    Keeps the estimates, and sets `gate.throughput` once a second.

    `figure` returns the benchmark's figure in units a second, that of all backends together, or None before there is
    one. `measures`: the tokens of responses are read, so the work of a request that reports none is not known.

    Then there are two estimates. `work` is of the work that is done in a second, as the benchmark measures it, and is
    reported. `cost` is of the signed cost of the requests that are served in a second. It is for admission, because the
    load that is divided by it consists of signed costs: requests that are done early take their whole cost with them.
    Without measured work both are one.

    They begin with the benchmark at each start, because what restarts a worker often changes its backend too.
    """

    def __init__(
        self,
        clock: IReactorTime,
        gate: FairQueue[Any],
        ledger: Ledger,
        figure: Callable[[], float | None],
        *,
        measures: bool,
    ) -> None:
        self.work = ThroughputEstimate()
        self.cost = ThroughputEstimate() if measures else self.work
        self.factor = self.admission_factor = 1.0
        """The estimates that are applied."""
        self._timer = CoarseTimer(clock)
        self._gate = gate
        self._ledger = ledger
        self._figure = figure
        self._measures = measures

    @property
    def benchmark(self) -> float:
        """The benchmark's figure in units a second; 0.0 before there is one."""
        return self._figure() or 0.0

    @property
    def throughput(self) -> float:
        """The estimated throughput, for reports, in units a second; 0.0 before there is a figure."""
        return self.benchmark * self.factor

    @property
    def admission_throughput(self) -> float:
        """The signed cost that is served in a second, likewise, for admission."""
        return self.benchmark * self.admission_factor

    def condition(self, condition: Condition) -> Condition:
        """The condition that is reported."""
        return attrs.evolve(condition, max_perf=condition.max_perf * self.factor)

    def take(self, batch: Sequence[Any]) -> None:
        """Requests have ended."""
        for request in batch:
            if request.state is not SERVED or request.status == 101 or request.head.method not in _WORK:
                continue
            if not request.upstream_name:
                continue  # the worker answered it: it creates a session, and is no work itself
            began, ended = request.started_at, request.ended_at
            self.cost.ended(began, ended, from_micros(request.work))
            if self._measures and request.measured is not None:
                self.work.ended(began, ended, from_micros(request.measured))

    def tick(self, now: float) -> None:
        """A second is over."""
        gate, figure = self._gate, self.benchmark
        if not figure or not gate.throughput:  # not measured, or not ready for the first time
            return
        load = self._load()
        self.cost.sample(now, gate.working, load, figure)
        if self._measures:
            self.work.sample(now, gate.working, load, figure)
        self.factor = _applied(self.factor, self.work.factor)
        self.admission_factor = _applied(self.admission_factor, self.cost.factor)
        # Whoever sets the gate's throughput sets the benchmark's, when backends come and go.
        if gate.throughput != figure * self.admission_factor:
            gate.throughput = figure * self.admission_factor

    def _load(self) -> Load:
        """
        Whether the backend does all that it can.

        It does at the benchmark's concurrency, which is where more requests at once gained nothing, and with all slots
        taken, because it never gets more.
        """
        gate = self._gate
        level = getattr(self._figure(), "concurrency", 0)
        if gate.full or 0 < level <= gate.working or (gate.waiting and not level):
            return Load.BUSY
        limit = gate.max_wait_seconds
        if limit is not None and gate.estimated_wait(self._ledger.backend_load) > limit:
            return Load.LIMITED
        return Load.LIGHT

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]
        self._timer.add(self)

    def stopService(self) -> None:
        """Let the estimate be as it is."""
        super().stopService()  # type: ignore[no-untyped-call]
        self._timer.discard(self)


def _applied(before: float, estimated: float) -> float:
    """The factor to apply: the one before it, or the estimate if that differs enough."""
    return estimated if abs(estimated - before) >= LEAST_CHANGE * before else before
