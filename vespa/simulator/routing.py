"""How /route/ answers: what it was asked, and what those who wait are told."""

from __future__ import annotations

from collections import Counter

from attrs import frozen

from vespa.simulator.worker_totals import State


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


def breakdown(states: Counter[State]) -> str:
    """How many workers there are in each state, as the autoscaler tells those who wait."""
    counts = ", ".join(f"{state} workers: {states[state]}" for state in ("loading", "standby", "error"))
    return f"total workers: {states.total()}, {counts}"
