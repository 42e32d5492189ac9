"""How /route/ answers: what it was asked, for how long it has no worker to give, and how it says so."""

from __future__ import annotations

from collections import Counter, deque

from attrs import frozen

from vespa.simulator.worker_totals import EndpointTotals

KEPT = 10_000
"""How many questions are remembered, the newest."""


@frozen
class Asked:
    """One question that was answered. `request_idx` is as it was asked, 0 for a new request.

    `at` is in seconds of the autoscaler's clock, `answered_idx` the index that the response gave. Of `url` and `status`
    one is "": a worker was given, or what those who wait are told.
    """

    at: float
    endpoint: str
    cost: float
    request_idx: int
    answered_idx: int
    url: str = ""
    status: str = ""


class Routes(deque[Asked]):
    """The questions of late, in order."""

    def __init__(self) -> None:
        super().__init__(maxlen=KEPT)

    def of(self, request_idx: int) -> list[Asked]:
        """Those of one request."""
        return [asked for asked in self if asked.answered_idx == request_idx]


class Hold:
    """A time in which nobody is given a worker. It begins with the first question."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._until: float | None = None

    def set(self, seconds: float) -> None:
        """Hold for so long from the next question on."""
        self._seconds = seconds
        self._until = None

    def holds(self, now: float) -> bool:
        """Whether a question at this time has to wait."""
        if not self._seconds:
            return False
        if self._until is None:
            self._until = now + self._seconds
        if now < self._until:
            return True
        self._seconds = 0.0
        return False


def breakdown(totals: EndpointTotals, now: float, *, held: bool = False) -> str:
    """The workers by state, as the autoscaler tells those who wait; while it is `held` those that are ready load."""
    states = Counter(worker_totals.state(now, totals.stale_after) for worker_totals in totals.workers.values())
    if held:
        states["loading"] += states.pop("ready", 0)
    counts = ", ".join(f"{state} workers: {states[state]}" for state in ("loading", "standby", "error"))
    return f"total workers: {states.total()}, {counts}"
