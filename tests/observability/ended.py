"""Requests that have ended, and a subject of the status, for tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import define

from vespa.accounting.lifecycle import SERVED, State
from vespa.runtime.state_changes import StateChanges

UNIT = 1_000_000


@define(eq=False)
class FakeEnded:
    """A request that has ended, with the members that the status reads."""

    state: State = SERVED
    work: int = UNIT
    measured: int | None = None
    received_at: float = 1000.0
    first_byte_at: float = 1000.25
    ended_at: float = 1001.0
    path: str = "/v1/models"


def row(ended: FakeEnded) -> dict[str, Any]:
    """What the document shows of it."""
    return {"ended_at": ended.ended_at, "path": ended.path, "outcome": ended.state.name.lower()}


class FakeSubject:
    """A subject whose facts the test sets."""

    kind = "worker"
    figures: tuple[str, ...] = ("load",)

    def __init__(self) -> None:
        self.states = StateChanges()
        self.load = 0.0
        self.more: dict[str, Any] = {}

    def measure(self) -> Mapping[str, float | None]:
        return {"load": self.load}

    def facts(self) -> dict[str, Any]:
        return {"load": self.load, "problems": [], **self.more}
