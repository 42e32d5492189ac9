"""The readiness of a worker with several backends: each has a monitor, and the worker is ready while one of them is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from twisted.application.service import MultiService
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from vespa.accounting.backend_slots import DOWN, READY, SUSPECT
from vespa.protocol.refusal import Refusal
from vespa.vast.status_report import Condition
from vespa.worker.backends.backends import Backend
from vespa.worker.readiness.history import ReadinessHistory
from vespa.worker.readiness.monitor import MESSAGE_LIMIT, ReadinessMonitor

HEALTH: Final[Mapping[str, int]] = {"ready": READY, "suspect": SUSPECT}
"""What the state of a monitor means for requests. In any other state a backend gets none."""

_BEST_FIRST: Final = ("ready", "suspect", "benchmarking", "loading", "errored")
_CAUSE_MIN: Final = 60  # characters of a backend's cause, if many share a message


class BackendsReadiness(MultiService):
    """
    Combines the monitors of several backends, with the public interface of one.

    `state` is the best of their states; but a worker that was ready is errored if none is ready and one is errored,
    although others still load. `throughput` is the sum over the backends that are ready; if none is any more,
    the last sum. `set_health` is called when the health of a backend changes, `on_throughput` for each new sum.
    """

    log = Logger(namespace="vespa.worker.readiness.monitor")

    def __init__(
        self,
        clock: IReactorTime,
        monitors: Mapping[Backend, ReadinessMonitor],
        *,
        set_health: Callable[[Backend, int], None],
        on_throughput: Callable[[float], None],
        add: Callable[[Sequence[float]], float] = sum,
    ) -> None:
        """`add` sums figures."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.monitors = dict(monitors)
        self.history = ReadinessHistory()
        self.state = "loading"
        self.ready = False
        self.throughput: float | None = None
        self._clock = clock
        self._set_health = set_health
        self._on_throughput = on_throughput
        self._add = add
        self._message = ""
        self._loadtime = 0.0
        self._started_at = 0.0
        for backend, monitor in self.monitors.items():
            monitor.subject = monitor.backend = f"the backend {backend.name}"
            monitor.history.on_change = lambda backend=backend: self._changed(backend)
            monitor.setServiceParent(self)  # type: ignore[no-untyped-call]

    def startService(self) -> None:
        self._started_at = self._clock.seconds()
        self.history.entered(self._started_at, self.state, "", "")
        super().startService()  # type: ignore[no-untyped-call]

    def condition(self) -> Condition:
        """The condition for the next report. A backend that is left out is no error of the worker's."""
        return Condition(
            loadtime=self._loadtime,
            max_perf=(self.throughput or 0.0) if self._loadtime else 0.0,
            error_msg=self._message,
            ready=self.ready,
        )

    def refusal(self) -> Refusal | None:
        """The refusal of a request while no backend is ready; None when one is."""
        if self.ready:
            return None
        refusals = [refusal for monitor in self.monitors.values() if (refusal := monitor.refusal()) is not None]
        wait = min((refusal.retry_after or 1.0 for refusal in refusals), default=1.0)
        cause = self._message or self._causes()
        return Refusal(503, "not_ready", f"the worker is {self.state}{cause and f': {cause}'}", retry_after=wait)

    def _changed(self, backend: Backend) -> None:
        """A monitor has news."""
        self._combine()
        health = HEALTH.get(self.monitors[backend].state, DOWN)
        if health != backend.health:
            self._set_health(backend, health)

    def _combine(self) -> None:
        monitors = self.monitors.values()
        states = {monitor.state for monitor in monitors}
        state = next(each for each in _BEST_FIRST if each in states)
        self.ready = state in HEALTH
        if not self.ready and self._loadtime and "errored" in states:
            state = "errored"  # it has served before: another backend that never came up is no reason to say nothing
        self._sum([monitor for monitor in monitors if monitor.ready])
        message = ""
        if state == "errored" or (not self.ready and all(monitor.condition().error_msg for monitor in monitors)):
            message = f"none of the {len(self.monitors)} backends is ready: {self._causes()}"[:MESSAGE_LIMIT]
        if (state, message) != (self.state, self._message):
            report = self.log.error if state == "errored" else self.log.info
            report("the worker is {state}{cause}", state=state, cause=message and f": {message}")
        self.state, self._message = state, message
        now = self._clock.seconds()
        if self.ready and not self._loadtime:
            # In reports 0.0 means "not yet", so a start without any wait needs another value.
            self._loadtime = max(now - self._started_at, 0.001)
        self.history.changes.enter(now, state, message or self._causes())
        probes = [each for monitor in monitors if (each := monitor.history.last_probe) is not None]
        self.history.last_probe = max(probes, key=lambda probe: probe.at, default=None)
        self.history.measured_at = max(monitor.history.measured_at for monitor in monitors)

    def _sum(self, ready: Sequence[ReadinessMonitor]) -> None:
        figures = [monitor.throughput for monitor in ready if monitor.throughput is not None]
        total = self._add(figures) if figures else None
        if total is not None and total != self.throughput:
            self.throughput = total
            self._on_throughput(total)

    def _causes(self) -> str:
        """Why backends are not ready, each with its name; "" if nothing is to be said."""
        most = max(_CAUSE_MIN, (MESSAGE_LIMIT - 50) // len(self.monitors) - 24)
        found = []
        for backend, monitor in self.monitors.items():
            newest = monitor.history.changes.newest
            reason = newest.reason if newest is not None else ""
            if monitor.state != "ready" and reason:
                found.append(f"{backend.name}: {reason[:most]}")
        return "; ".join(found)
