"""The account of requests: what each came to, what is in flight, and what the autoscaler is still to be told."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import islice

import msgspec
from attrs import frozen

from vespa.accounting.lifecycle import (
    CANCELLED,
    CONNECTING,
    FAILED,
    RECEIVED,
    REFUSED,
    SERVED,
    STREAMING,
    STREAMING_ERROR,
    TABLE,
    UNSERVED,
    WAITING,
    Event,
    State,
)

_AT_BACKEND = frozenset((CONNECTING, STREAMING, STREAMING_ERROR))

# The table as plain dicts: asking a read-only view costs twice as much, three times a request.
_ROWS = {state: dict(row) for state, row in TABLE.items()}


class Entry:
    """
    One authenticated request. Only the ledger changes it.

    Times are epoch seconds, 0.0 where it never came to that; a cancelled request was never completed. `work` is in
    millionths. `request_idx` is None where nobody gave one (unsecured mode); such a request is counted, but its end is
    not told.
    """

    __slots__ = ("completed_at", "received_at", "request_idx", "started_at", "state", "work")

    def __init__(self, request_idx: int | None, work: int, received_at: float) -> None:
        self.state = RECEIVED
        self.request_idx = request_idx
        self.work = work
        self.received_at = received_at
        self.started_at = 0.0
        self.completed_at = 0.0


class Deleted(msgspec.Struct, frozen=True, eq=False, gc=False):
    """The end of one request, to be told once. Two are never equal: one assignment may be used by two requests."""

    request_idx: int
    outcome: State
    received_at: float
    started_at: float
    completed_at: float


@frozen
class Snapshot:
    """
    What a report says, taken at one moment. Work is in millionths.

    `new_load`, `served` and `rejected` count from the last acknowledged snapshot; `new_load` goes below 0 when work
    reported before was cancelled since. `num_received` counts from the start, refused requests too.
    """

    load: int
    new_load: int
    served: int
    rejected: int
    num_working: int
    num_received: int
    working_request_idxs: tuple[int, ...]
    changed: bool
    totals: _Totals


@frozen
class _Totals:
    """Work counted from the start, in millionths, and how many changes made it so."""

    changes: int = 0
    new: int = 0
    served: int = 0
    rejected: int = 0


class Ledger:
    """
    The books. Whatever the order of events, these hold:

    1. received = served + unserved + failed + cancelled + expired + in_flight.
    2. `load` is the sum of the work in flight: never negative, and 0 when nothing is in flight.
    3. A request that has a request_idx leaves exactly one delete record, at its end.
    4. Acknowledging a snapshot takes off what it told and nothing else.
    5. Served work is that of requests whose answer was passed on whole and is no error. A backend's 4xx or 5xx that was
       passed on whole completes its request (`unserved`, told as a success) and adds nothing to it.
    6. No more than `max_pending_deletes` records are kept; the oldest go first, counted in `dropped_deletes`.

    A client that leaves before it was decided upon is in no count, yet its delete record is written.
    """

    def __init__(self, max_pending_deletes: int) -> None:
        self.load = 0
        self.received = 0
        self.served = 0
        self.unserved = 0
        self.failed = 0
        self.cancelled = 0
        self.expired = 0
        self.refused = 0
        self.late = 0
        self.dropped_deletes = 0
        self._in_flight: dict[Entry, None] = {}
        self._live: dict[int, int] = {}
        self._changes = 0
        self._new_work = 0
        self._served_work = 0
        self._rejected_work = 0
        self._told = _Totals()
        self._max_pending_deletes = max_pending_deletes
        self._deletes: deque[Deleted] = deque()

    @property
    def in_flight(self) -> int:
        """How many requests are waiting, connecting or streaming, be it an answer or an error."""
        return len(self._in_flight)

    def open(self, request_idx: int | None, work: int, now: float) -> Entry:
        """Begin an entry for an authenticated request; nothing is counted before it is decided upon."""
        if request_idx is not None:
            self._live[request_idx] = self._live.get(request_idx, 0) + 1
        return Entry(request_idx, work, now)

    def under_way(self, request_idx: int) -> bool:
        """Whether an entry of this index was opened and has not ended."""
        return request_idx in self._live

    def advance(self, entry: Entry, event: Event, now: float) -> bool:
        """Take the entry one step further. False if the table has no such step: then only `late` changes."""
        state = entry.state
        target = _ROWS[state].get(event)
        if target is None:
            self.late += 1
            return False
        entry.state = target
        if target is CONNECTING:
            entry.started_at = now
            if state is RECEIVED:
                self._enter(entry)
        elif target is WAITING:
            self._enter(entry)
        elif target is not STREAMING and target is not STREAMING_ERROR:
            self._end(entry, state, target, now)
        return True

    def _enter(self, entry: Entry) -> None:
        self._changes += 1
        self.received += 1
        self.load += entry.work
        self._new_work += entry.work
        self._in_flight[entry] = None

    def _end(self, entry: Entry, state: State, target: State, now: float) -> None:
        """Book the end of an entry that was in `state`."""
        work = entry.work
        if state in _AT_BACKEND and target is not CANCELLED:
            entry.completed_at = now
        if state is not RECEIVED:
            self._changes += 1
            self.load -= work
            del self._in_flight[entry]
            if target is SERVED:
                self.served += 1
                self._served_work += work
            elif target is UNSERVED:
                self.unserved += 1
            elif target is FAILED:
                self.failed += 1
            elif target is CANCELLED:
                self.cancelled += 1
                self._new_work -= work
            else:
                self.expired += 1
                self._new_work -= work
                self._rejected_work += work
        elif target is REFUSED:
            self._changes += 1
            self.refused += 1
            self._rejected_work += work
        if entry.request_idx is not None:
            others = self._live.pop(entry.request_idx) - 1
            if others:
                self._live[entry.request_idx] = others
            record = Deleted(entry.request_idx, target, entry.received_at, entry.started_at, entry.completed_at)
            self._deletes.append(record)
            if len(self._deletes) > self._max_pending_deletes:
                self._deletes.popleft()
                self.dropped_deletes += 1

    def snapshot(self) -> Snapshot:
        """What the autoscaler should be told now."""
        totals = _Totals(self._changes, self._new_work, self._served_work, self._rejected_work)
        told = self._told
        return Snapshot(
            load=self.load,
            new_load=totals.new - told.new,
            served=totals.served - told.served,
            rejected=totals.rejected - told.rejected,
            num_working=len(self._in_flight),
            num_received=self.received + self.refused,
            # Each index once: an assignment may be used by two requests.
            working_request_idxs=tuple(
                dict.fromkeys([entry.request_idx for entry in self._in_flight if entry.request_idx is not None])
            ),
            changed=totals.changes != told.changes,
            totals=totals,
        )

    def acknowledge(self, snapshot: Snapshot) -> None:
        """The autoscaler has this snapshot. Once more, or after a later one, it changes nothing."""
        if snapshot.totals.changes > self._told.changes:
            self._told = snapshot.totals

    def deletes(self, limit: int = 1000) -> Sequence[Deleted]:
        """The oldest records still to be told."""
        return tuple(islice(self._deletes, limit))

    def acknowledge_deletes(self, records: Iterable[Deleted]) -> None:
        """The autoscaler has these records. Those no longer kept are passed over."""
        # By identity: one assignment may be used by two requests. They stand among the oldest.
        told = {id(record): record for record in records}
        kept = []
        while told and self._deletes:
            record = self._deletes.popleft()
            if told.pop(id(record), None) is None:
                kept.append(record)
        self._deletes.extendleft(reversed(kept))
