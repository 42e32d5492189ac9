"""Entries of a ledger that are nothing else."""

from __future__ import annotations

from vespa.accounting.ledger import Ledger
from vespa.accounting.lifecycle import READING, State


class PlainEntry:
    """The ledger's entry of a request."""

    def __init__(self) -> None:
        self.state: State = READING
        self.request_idx: int | None = None
        self.work = self.freed = 0
        self.measured: int | None = None
        self.received_at = 0.0
        self.started_at = 0.0
        self.first_byte_at = self.ended_at = 0.0

    def values(self) -> tuple[State, int | None, int, float, float, float, float]:
        """All that the ledger wrote into it."""
        times = self.received_at, self.started_at, self.first_byte_at, self.ended_at
        return self.state, self.request_idx, self.work, *times


def opened(ledger: Ledger, request_idx: int | None, work: int, now: float) -> PlainEntry:
    """A new entry, opened in the ledger."""
    entry = PlainEntry()
    assert ledger.open(entry, request_idx, work, now)
    return entry
