"""Applies the estimate of the true throughput: to admission, and to what the autoscaler is told."""

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
"""A smaller change of the factor is not applied, because each change is a report to the autoscaler."""

_WORK: Final = frozenset((b"POST", b"PUT", b"PATCH"))
"""Methods of requests that are work. A GET asks for the result of another request, or for a list."""


class Recalibration(Service):
    """
    Keeps the estimate, and sets `gate.throughput` by it once a second.

    `figure` returns the benchmark's figure in units a second, that of all backends together, or None before there is
    one. `measures`: the tokens of responses are read, so the work of a request that reports none is not known.
    The estimate begins with the benchmark at each start, because what restarts a worker often changes its backend too.
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
        self.estimate = ThroughputEstimate()
        self.factor = 1.0
        """The estimate that is applied."""
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
        """The estimated throughput in units a second; 0.0 before there is a figure."""
        return self.benchmark * self.factor

    def condition(self, condition: Condition) -> Condition:
        """The condition that is reported."""
        return attrs.evolve(condition, max_perf=condition.max_perf * self.factor)

    def take(self, batch: Sequence[Any]) -> None:
        """Requests have ended."""
        for request in batch:
            if request.state is not SERVED or request.status == 101 or request.head.method not in _WORK:
                continue
            work = request.measured if self._measures else request.work
            if work:
                self.estimate.ended(request.started_at, request.ended_at, from_micros(work))

    def tick(self, now: float) -> None:
        """A second is over."""
        gate, figure = self._gate, self.benchmark
        if not figure or not gate.throughput:  # not measured, or not ready for the first time
            return
        self.estimate.sample(now, gate.working, self._load(), figure)
        if abs(self.estimate.factor - self.factor) >= LEAST_CHANGE * self.factor:
            self.factor = self.estimate.factor
        # Whoever sets the gate's throughput sets the benchmark's, when backends come and go.
        if gate.throughput != figure * self.factor:
            gate.throughput = figure * self.factor

    def _load(self) -> Load:
        """
        Whether the backend does all that it can.

        It does at the benchmark's concurrency, which is where more requests at once gained nothing, and with all slots
        taken, because it never gets more.
        """
        gate = self._gate
        slots, level = gate.max_concurrency, getattr(self._figure(), "concurrency", 0)
        if 0 < slots <= gate.working or 0 < level <= gate.working or (gate.waiting and not level):
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
