"""What the readiness monitor has seen of the backend, for people who look at the worker."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from attrs import define, field, frozen

from vespa.protocol.refusal import Refusal
from vespa.runtime.state_changes import StateChanges
from vespa.vast.status_report import Condition

PROGRESS_LINES: Final = 20
"""The number of lines of a benchmark's output that are kept, the newest."""


@frozen
class ProbeResult:
    """A probe: when it ended (epoch seconds), how long it took, and the cause if the backend is not healthy, or ""."""

    at: float
    seconds: float
    trouble: str


@define(eq=False)
class ReadinessHistory:
    """
    `changes` are the states and their reasons, `last_probe` is the last one that ended.

    `progress` has the last lines of the benchmark's output. `measured_at` is the time of its figure in epoch seconds;
    0.0 if there is none, or if the figure was stored by an earlier process.

    `on_change` is called after each change of what the monitor says.
    """

    changes: StateChanges = field(factory=StateChanges)
    last_probe: ProbeResult | None = None
    progress: deque[str] = field(factory=lambda: deque(maxlen=PROGRESS_LINES))
    measured_at: float = 0.0
    on_change: Callable[[], None] | None = None

    def entered(self, at: float, state: str, message: str, trouble: str) -> None:
        """The monitor is in a state, for a reason in `message`, or the probe's `trouble`. Each may be empty."""
        if state == "benchmarking":
            self.progress.clear()
        self.changes.enter(at, state, message or ("" if state == "ready" else trouble))
        self._changed()

    def probed(self, began_at: float, now: float, trouble: str) -> None:
        """A probe has ended."""
        self.last_probe = ProbeResult(now, now - began_at, trouble)
        self._changed()

    def explained(self, trouble: str) -> None:
        """The probe's trouble is the reason of the present state, unless it has another one, or needs none."""
        newest = self.changes.newest
        if newest is not None and newest.state in ("loading", "suspect"):
            self.changes.explain(trouble)
            self._changed()

    def _changed(self) -> None:
        if self.on_change is not None:
            self.on_change()


class Readiness(Protocol):
    """Whether a worker is ready, for those who show or report it: of one backend, or of several together."""

    @property
    def state(self) -> str:
        """loading, benchmarking, ready, suspect or errored."""

    @property
    def ready(self) -> bool:
        """Whether requests pass."""

    @property
    def throughput(self) -> float | None:
        """The benchmark's figure, maybe a `Figure`; None before the measurement."""

    @property
    def history(self) -> ReadinessHistory:
        """What was seen."""

    def condition(self) -> Condition:
        """The condition for the next report."""

    def refusal(self) -> Refusal | None:
        """The refusal of a request while the worker is not ready; None when it is."""
