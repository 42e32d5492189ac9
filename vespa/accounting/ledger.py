"""The accounts of requests: the result of each, the work in flight, and the records for the autoscaler."""

from __future__ import annotations

from collections.abc import Mapping

from vespa.accounting.delete_records import DeleteRecords
from vespa.accounting.lifecycle import (
    CANCELLED,
    CONNECTING,
    FAILED,
    OPEN,
    READING,
    RECEIVED,
    REFUSED,
    SERVED,
    STEPS,
    STREAMING,
    STREAMING_ERROR,
    UNSERVED,
    WAITING,
    Event,
    State,
)
from vespa.accounting.records import Completion, Entry, Snapshot, Totals

_AT_BACKEND = frozenset((CONNECTING, STREAMING, STREAMING_ERROR))


class Ledger(DeleteRecords):
    """
    The accounts of all requests. These laws hold in any order of events:

    1. received = served + unserved + failed + cancelled + expired + in_flight.
    2. `load` is the sum of the work in flight that was not freed: never negative, and 0 when nothing is in flight.
    3. A request that was opened with a request_idx leaves exactly one delete record, at its end.
    4. Acknowledging a snapshot subtracts the work that it reported and nothing else.
    5. Served work is the work of requests whose whole response was passed on and is not an error. A backend's 4xx or
       5xx that was passed on whole completes its request (`unserved`, reported as a success) and adds no served work.
       Where the work was measured, the measured work is served work in place of the signed.
    6. The records are those of `DeleteRecords`.
    7. A request that ends before it was opened is not counted and leaves no delete record.
    8. `start` and `finish` have the effect of the events that they combine.

    If a client leaves after its request was opened and before it was decided, the request is not counted, but its
    delete record is written.
    """

    def __init__(self, max_pending_deletes: int) -> None:
        super().__init__(max_pending_deletes)
        self.load = 0
        self.session_load = 0  # the part of `load` that `SessionAccount`s hold
        self.received = self.served = self.unserved = self.failed = self.cancelled = self.expired = 0
        self.refused = 0
        self.late = 0
        self._open: dict[int, int] = {}
        self.under_way: Mapping[int, int] = self._open  # the number of open requests by request_idx
        self._in_flight: dict[Entry, None] = {}
        self._changes = 0
        self.received_work = self.cancelled_work = self.expired_work = 0  # of all requests that did so: none ever falls
        self._served_work = self._rejected_work = 0
        self._told = Totals()

    @property
    def in_flight(self) -> int:
        """The number of requests that are waiting, connecting or streaming."""
        return len(self._in_flight)

    def open(self, entry: Entry, request_idx: int | None, work: int, now: float) -> bool:
        """OPEN: the request was authenticated. It is counted when it is decided."""
        if entry.state is READING:
            entry.request_idx = request_idx
            entry.work = work
        return self.advance(entry, OPEN, now)

    def start(self, entry: Entry, request_idx: int | None, work: int, now: float) -> bool:
        """OPEN and ADMIT in one step. Returns False if it was opened before: then only `late` changes."""
        if entry.state is not READING:
            self.late += 1
            return False
        entry.state = CONNECTING
        entry.request_idx = request_idx
        entry.work = work
        entry.received_at = entry.started_at = now
        if request_idx is not None:
            self._open[request_idx] = self._open.get(request_idx, 0) + 1
        self._changes += 1
        self.received += 1
        self.load += work
        self.received_work += work
        self._in_flight[entry] = None
        return True

    def finish(self, entry: Entry, served: bool, now: float) -> bool:
        """
        The whole response was passed on: HEAD, or ERROR_HEAD unless `served`, and END.

        If the head was recorded before, this is END alone, and `served` is ignored. Returns False if the request is not
        at the backend: then only `late` changes.
        """
        state = entry.state
        if state is CONNECTING:
            entry.first_byte_at = now
        elif state is STREAMING:
            served = True
        elif state is STREAMING_ERROR:
            served = False
        else:
            self.late += 1
            return False
        work = entry.work
        self._changes += 1
        self.load -= work - entry.freed
        del self._in_flight[entry]
        entry.ended_at = now
        if served:
            entry.state = outcome = SERVED
            self.served += 1
            self._served_work += work if entry.measured is None else entry.measured
        else:
            entry.state = outcome = UNSERVED
            self.unserved += 1
        request_idx = entry.request_idx
        if request_idx is not None:
            others = self._open.pop(request_idx) - 1
            if others:
                self._open[request_idx] = others
            deletes = self._deletes
            deletes.append(Completion(request_idx, outcome, entry.received_at, entry.started_at, now))
            if len(deletes) > self._max_pending_deletes:
                deletes.popleft()
                self.dropped_deletes += 1
        return True

    @property
    def backend_load(self) -> int:
        """The work in flight that a new request waits for: all but what sessions hold for themselves."""
        return self.load - self.session_load

    def free_load(self, entry: Entry, work: int) -> None:
        """
        So much of the work of a request in flight is done since its start, and no longer in `load`.

        At most all of it, and never less than before. A request that is not in flight is left alone.
        """
        freed = min(work, entry.work)
        if freed > entry.freed and entry in self._in_flight:
            self.load -= freed - entry.freed
            entry.freed = freed
            self._changes += 1

    def measure(self, entry: Entry, work: int) -> None:
        """The backend has done so much work for a request in flight. It counts if the request is served."""
        if entry in self._in_flight:
            entry.measured = work

    def advance(self, entry: Entry, event: Event, now: float) -> bool:
        """Take the entry one step further. Returns False if the table has no such step: then only `late` changes."""
        state = entry.state
        target = STEPS[state].get(event)
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
        elif target is RECEIVED:
            entry.received_at = now
            if entry.request_idx is not None:
                self._open[entry.request_idx] = self._open.get(entry.request_idx, 0) + 1
        elif target is STREAMING or target is STREAMING_ERROR:
            entry.first_byte_at = now
        else:
            entry.ended_at = now
            if state is not READING:
                self._end(entry, state, target, now)
        return True

    def _enter(self, entry: Entry) -> None:
        self._changes += 1
        self.received += 1
        self.load += entry.work
        self.received_work += entry.work
        self._in_flight[entry] = None

    def _end(self, entry: Entry, state: State, target: State, now: float) -> None:
        """Record the end of an entry that was in `state`."""
        work = entry.work
        if state is not RECEIVED:
            self._changes += 1
            self.load -= work - entry.freed
            del self._in_flight[entry]
            if target is SERVED:
                self.served += 1
                self._served_work += work if entry.measured is None else entry.measured
            elif target is UNSERVED:
                self.unserved += 1
            elif target is FAILED:
                self.failed += 1
            elif target is CANCELLED:
                self.cancelled += 1
                self.cancelled_work += work
            else:
                self.expired += 1
                self.expired_work += work
                self._rejected_work += work
        elif target is REFUSED:
            self._changes += 1
            self.refused += 1
            self._rejected_work += work
        if entry.request_idx is not None:
            others = self._open.pop(entry.request_idx) - 1
            if others:
                self._open[entry.request_idx] = others
            completed_at = now if state in _AT_BACKEND and target is not CANCELLED else 0.0
            record = Completion(entry.request_idx, target, entry.received_at, entry.started_at, completed_at)
            self._deletes.append(record)
            if len(self._deletes) > self._max_pending_deletes:
                self._deletes.popleft()
                self.dropped_deletes += 1

    def snapshot(self) -> Snapshot:
        """The figures for the next report to the autoscaler."""
        new = self.received_work - self.cancelled_work - self.expired_work
        totals = Totals(self._changes, new, self._served_work, self._rejected_work)
        told = self._told
        return Snapshot(
            load=self.load,
            new_load=totals.new - told.new,
            served=totals.served - told.served,
            rejected=totals.rejected - told.rejected,
            num_working=len(self._in_flight),
            num_received=self.received + self.refused,
            # Each index once: two requests may use one assignment.
            working_request_idxs=tuple(
                dict.fromkeys([entry.request_idx for entry in self._in_flight if entry.request_idx is not None])
            ),
            changed=totals.changes != told.changes,
            totals=totals,
        )

    def acknowledge(self, snapshot: Snapshot) -> None:
        """The autoscaler has received this snapshot. A repeated or older snapshot changes nothing."""
        if snapshot.totals.changes > self._told.changes:
            self._told = snapshot.totals
