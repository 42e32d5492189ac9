from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import astuple, replace
from twisted.trial.unittest import SynchronousTestCase

from tests.accounting.entries import PlainEntry, opened
from tests.frames import frames
from vespa.accounting.ledger import Ledger
from vespa.accounting.lifecycle import ENDS, TABLE, Event, State
from vespa.accounting.records import Completion, Snapshot

LIVE = (State.WAITING, State.CONNECTING, State.STREAMING, State.STREAMING_ERROR)

RESPONDED = {
    (State.CONNECTING, True): State.SERVED,
    (State.CONNECTING, False): State.UNSERVED,
    (State.STREAMING, True): State.SERVED,
    (State.STREAMING, False): State.SERVED,
    (State.STREAMING_ERROR, True): State.UNSERVED,
    (State.STREAMING_ERROR, False): State.UNSERVED,
}
"""What a request comes to whose response was passed on whole, by its state and what is said of the head."""

# What may happen: a request comes; one is opened, or started at once (its request_idx, its work); an event of any kind
# to any request, be it in the table or not; a response passed on whole; work freed early, or measured; a report taken,
# delivered, or lost; delete records delivered.
steps = st.lists(
    st.one_of(
        st.tuples(st.just("new"), st.just(0), st.just(0)),
        st.tuples(st.just("start"), st.none() | st.integers(0, 3), st.integers(0, 10**12)),
        st.tuples(st.just("finish"), st.integers(0, 30), st.integers(0, 1)),
        st.tuples(st.just("open"), st.none() | st.integers(0, 3), st.integers(0, 10**12)),
        st.tuples(st.just("event"), st.integers(0, 30), st.sampled_from(Event)),
        st.tuples(st.just("event"), st.integers(0, 30), st.sampled_from(Event)),
        st.tuples(st.just("event"), st.integers(0, 30), st.sampled_from(Event)),
        st.tuples(st.just("free"), st.integers(0, 30), st.integers(0, 10**12)),
        st.tuples(st.just("measure"), st.integers(0, 30), st.integers(0, 10**12)),
        st.tuples(st.just("take"), st.just(0), st.just(0)),
        st.tuples(st.just("deliver"), st.integers(0, 5), st.just(0)),
        st.tuples(st.just("tell"), st.integers(0, 4), st.integers(0, 4)),
    ),
    min_size=20,
    max_size=80,
)


def went(
    ledger: Ledger, *events: Event, request_idx: int | None = 5, work: int = 10, start: float = 100.0
) -> PlainEntry:
    """An entry that was opened and went through these events, one a second."""
    entry = opened(ledger, request_idx, work, start)
    for second, event in enumerate(events, 1):
        assert ledger.advance(entry, event, start + second)
    return entry


def done(entry: PlainEntry) -> int:
    """The work that is served with this entry."""
    return entry.work if entry.measured is None else entry.measured


class LawTests(SynchronousTestCase):
    @given(steps, st.integers(0, 5))
    def test_any_order_of_events(self, script: list[tuple[str, int, int]], max_pending: int) -> None:
        """The ledger's laws hold whatever happens in whatever order."""
        ledger = Ledger(max_pending)
        entries: list[PlainEntry] = []
        taken: list[Snapshot] = []
        late = told = 0
        ended_with_idx: list[PlainEntry] = []
        served = rejected = new = 0
        delivered_upto = -1
        totals = [(0, 0, 0)]
        delivered = (0, 0, 0)
        work_before = (0, 0, 0)
        for now, (what, first, second) in enumerate(script, 1):
            if what == "new":
                entries.append(PlainEntry())
            elif what == "open":
                entries.append(opened(ledger, first, second, float(now)))
            elif what == "start":
                entries.append(PlainEntry())
                self.assertTrue(ledger.start(entries[-1], first, second, float(now)))
                self.assertIs(entries[-1].state, State.CONNECTING)
                new += second
            elif what == "finish" and entries:
                entry = entries[first % len(entries)]
                before = entry.state
                outcome = RESPONDED.get((before, bool(second)))
                self.assertEqual(ledger.finish(entry, bool(second), float(now)), outcome is not None)
                self.assertEqual(entry.state, before if outcome is None else outcome)
                late += outcome is None
                served += done(entry) * (outcome is State.SERVED)
                if outcome is not None and entry.request_idx is not None:
                    ended_with_idx.append(entry)
            elif what == "event" and entries:
                entry = entries[first % len(entries)]
                before, event = entry.state, Event(second)
                target = TABLE[before].get(event)
                self.assertEqual(ledger.advance(entry, event, float(now)), target is not None)
                self.assertEqual(entry.state, before if target is None else target)
                late += target is None
                if target is not None:
                    new += entry.work * ((before is State.RECEIVED) * (target in LIVE))
                    new -= entry.work * (before in LIVE and target in (State.CANCELLED, State.REFUSED))
                    served += done(entry) * (target is State.SERVED)
                    rejected += entry.work * (target is State.REFUSED)
                    if not TABLE[target] and entry.request_idx is not None:
                        self.assertIsNot(before, State.READING)
                        ended_with_idx.append(entry)
            elif what == "free" and entries:
                entry = entries[first % len(entries)]
                more = max(0, min(second, entry.work) - entry.freed) * (entry.state in LIVE)
                before_load, before_freed = ledger.load, entry.freed
                ledger.free_load(entry, second)
                self.assertEqual((before_load - ledger.load, entry.freed), (more, before_freed + more))
            elif what == "measure" and entries:
                entry = entries[first % len(entries)]
                measured = second if entry.state in LIVE else entry.measured
                ledger.measure(entry, second)
                self.assertEqual(entry.measured, measured)
            elif what == "take":
                taken.append(ledger.snapshot())
                totals.append((new, served, rejected))
                told_now = (taken[-1].new_load, taken[-1].served, taken[-1].rejected)
                self.assertEqual(told_now, tuple(a - b for a, b in zip(totals[-1], delivered, strict=True)))
            elif what == "deliver" and taken:
                number = len(taken) - 1 - first % len(taken)
                ledger.acknowledge(taken[number])
                if number > delivered_upto:
                    delivered_upto, delivered = number, totals[number + 1]
            elif what == "tell":
                records = ledger.deletes(limit=first + second)[second:]
                ledger.acknowledge_deletes(records)
                told += len(records)
                ledger.acknowledge_deletes(records)
            live = [entry for entry in entries if entry.state in LIVE]
            self.assertEqual(ledger.in_flight, len(live))
            self.assertEqual(ledger.load, sum(entry.work - entry.freed for entry in live))
            self.assertEqual(
                ledger.received,
                sum(
                    (ledger.served, ledger.unserved, ledger.failed, ledger.cancelled, ledger.expired, ledger.in_flight)
                ),
            )
            self.assertEqual(ledger.late, late)
            work = ledger.received_work, ledger.cancelled_work, ledger.expired_work
            self.assertTrue(all(now >= before for now, before in zip(work, work_before, strict=True)))
            work_before = work
            received, cancelled, expired = work
            self.assertEqual(received - cancelled - expired, new)
            self.assertEqual(len(ledger.pending_deletes), len(ledger.deletes(10**6)))
            pending = ledger.deletes()
            self.assertLessEqual(len(pending), max_pending)
            self.assertEqual(len(pending) + told + ledger.dropped_deletes, len(ended_with_idx))
            if not told:
                kept = ended_with_idx[ledger.dropped_deletes :]
                self.assertEqual([r.request_idx for r in pending], [entry.request_idx for entry in kept])
                self.assertEqual([r.outcome for r in pending], [entry.state for entry in kept])

    def test_work(self) -> None:
        """The work of what was received, of what the client left, and of what waited too long, each for itself."""
        ledger = Ledger(10)
        went(ledger, Event.ADMIT, Event.HEAD, Event.END, work=1)
        went(ledger, Event.ADMIT, Event.HANG_UP, work=10)
        went(ledger, Event.WAIT, Event.HANG_UP, work=100)
        went(ledger, Event.WAIT, Event.EXPIRE, work=1000)
        went(ledger, Event.REFUSE, work=10_000)
        went(ledger, Event.HANG_UP, work=100_000)
        self.assertEqual((ledger.received_work, ledger.cancelled_work, ledger.expired_work), (1111, 110, 1000))

    @given(steps)
    def test_it_comes_to_zero(self, script: list[tuple[str, int, int]]) -> None:
        """When everyone has left nothing is in flight, and after two reports nothing is left to tell."""
        ledger = Ledger(1000)
        entries = [opened(ledger, first, second, 1.0) for what, first, second in script if what == "open"]
        for what, first, second in script:
            if what == "event" and entries:
                ledger.advance(entries[first % len(entries)], Event(second), 2.0)
        ledger.acknowledge(ledger.snapshot())
        for entry in entries:
            ledger.advance(entry, Event.HANG_UP, 3.0)
        ledger.acknowledge(ledger.snapshot())
        last = ledger.snapshot()
        self.assertEqual((ledger.load, ledger.in_flight, last.working_request_idxs), (0, 0, ()))
        self.assertFalse(any(idx in ledger.under_way for idx in range(4)))
        self.assertEqual((last.new_load, last.served, last.rejected, last.changed), (0, 0, 0, False))


class CombinedTests(SynchronousTestCase):
    """`start` and `finish` are shorthands: the accounts are the same as if each event had been told."""

    @given(steps, st.integers(0, 5))
    def test_same_books(self, script: list[tuple[str, int, int]], max_pending: int) -> None:
        """After any order of events, everything that can be seen of the two ledgers is equal."""
        combined, stepped = Ledger(max_pending), Ledger(max_pending)
        pairs: list[tuple[PlainEntry, PlainEntry]] = []
        for now, (what, first, second) in enumerate(script, 1):
            if what in ("new", "open"):
                pairs.append((PlainEntry(), PlainEntry()))
                if what == "open":
                    for ledger, entry in zip((combined, stepped), pairs[-1], strict=True):
                        ledger.open(entry, first, second, float(now))
            elif what == "start":
                # Now and then an entry that is there already, whatever came of it.
                if not pairs or second % 3:
                    pairs.append((PlainEntry(), PlainEntry()))
                one, other = pairs[second % len(pairs)] if second % 3 == 0 else pairs[-1]
                done = combined.start(one, first, second, float(now))
                self.assertEqual(done, stepped.open(other, first, second, float(now)))
                if done:
                    stepped.advance(other, Event.ADMIT, float(now))
            elif what == "finish" and pairs:
                one, other = pairs[first % len(pairs)]
                done = combined.finish(one, bool(second), float(now))
                if other.state is State.CONNECTING:
                    stepped.advance(other, Event.HEAD if second else Event.ERROR_HEAD, float(now))
                self.assertEqual(done, stepped.advance(other, Event.END, float(now)))
            elif what == "event" and pairs:
                one, other = pairs[first % len(pairs)]
                done = combined.advance(one, Event(second), float(now))
                self.assertEqual(done, stepped.advance(other, Event(second), float(now)))
            elif what == "deliver":
                for ledger in (combined, stepped):
                    ledger.acknowledge(ledger.snapshot())
            elif what == "tell":
                for ledger in (combined, stepped):
                    ledger.acknowledge_deletes(ledger.deletes(first))
            self.assertEqual(everything(combined), everything(stepped))
            self.assertEqual([one.values() for one, _ in pairs], [other.values() for _, other in pairs])


def everything(ledger: Ledger) -> tuple[object, ...]:
    """All that can be seen of a ledger."""
    counts = (ledger.received, ledger.served, ledger.unserved, ledger.failed, ledger.cancelled, ledger.expired)
    more = (ledger.refused, ledger.late, ledger.dropped_deletes, ledger.in_flight, dict(ledger.under_way))
    return (*counts, *more, ledger.snapshot(), [astuple(record) for record in ledger.deletes()])


class MeasuredTests(SynchronousTestCase):
    def test_served(self) -> None:
        """Served work is what the backend did; what was received is what was signed."""
        ledger = Ledger(10)
        for work in (3, 30):
            entry = went(ledger, Event.ADMIT, work=10)
            ledger.measure(entry, work)
            ledger.finish(entry, True, 200.0)
        streamed = went(ledger, Event.ADMIT, Event.HEAD, work=10)
        ledger.measure(streamed, 100)
        ledger.advance(streamed, Event.END, 200.0)
        taken = ledger.snapshot()
        self.assertEqual((taken.new_load, taken.served, taken.load), (30, 133, 0))

    def test_not_served(self) -> None:
        """What was measured of a request that is not served is no served work."""
        ledger = Ledger(10)
        for end in (Event.BREAK, Event.HANG_UP):
            entry = went(ledger, Event.ADMIT, Event.HEAD, work=10)
            ledger.measure(entry, 5)
            ledger.free_load(entry, 4)
            ledger.advance(entry, end, 200.0)
        self.assertFalse(ledger.finish(entry, True, 200.0))
        taken = ledger.snapshot()
        self.assertEqual((taken.new_load, taken.served, taken.load), (10, 0, 0))

    def test_at_once(self) -> None:
        """A request whose work is freed at its start is in the received and the served work, and never in the load."""
        ledger = Ledger(10)
        entry = PlainEntry()
        ledger.start(entry, None, 10, 100.0)
        ledger.free_load(entry, 10)
        self.assertEqual((ledger.load, ledger.in_flight, ledger.snapshot().new_load), (0, 1, 10))
        ledger.finish(entry, True, 101.0)
        taken = ledger.snapshot()
        self.assertEqual((taken.new_load, taken.served, taken.load, ledger.deletes()), (10, 10, 0, ()))


class FlatTests(SynchronousTestCase):
    def test_one_call(self) -> None:
        """The beginning and the end of a usual request are a call each, whether its head came earlier or not."""
        ledger = Ledger(1)
        for earlier in ((), (Event.HEAD,), (Event.ERROR_HEAD,)):
            entry = PlainEntry()
            self.assertEqual(len(frames(ledger.start, entry, 5, 10, 1.0)), 1)
            for event in earlier:
                ledger.advance(entry, event, 2.0)
            self.assertEqual(len(frames(ledger.finish, entry, True, 3.0)), 1)
        self.assertEqual((ledger.served, ledger.unserved, ledger.dropped_deletes), (2, 1, 2))


class CountTests(SynchronousTestCase):
    def counts(self, *events: Event) -> dict[str, int]:
        """The counts that are not zero after one request."""
        ledger = Ledger(10)
        went(ledger, *events)
        names = (
            "received",
            "served",
            "unserved",
            "failed",
            "cancelled",
            "expired",
            "refused",
            "late",
            "in_flight",
            "load",
        )
        return {name: getattr(ledger, name) for name in names if getattr(ledger, name)}

    def test_every_way(self) -> None:
        """Each way through the table ends in the count named for it, and load is held from ADMIT or WAIT to the end."""
        self.assertEqual(self.counts(), {})
        self.assertEqual(self.counts(Event.REFUSE), {"refused": 1})
        self.assertEqual(self.counts(Event.HANG_UP), {})
        self.assertEqual(self.counts(Event.WAIT), {"received": 1, "in_flight": 1, "load": 10})
        self.assertEqual(self.counts(Event.WAIT, Event.SLOT), {"received": 1, "in_flight": 1, "load": 10})
        self.assertEqual(self.counts(Event.WAIT, Event.EXPIRE), {"received": 1, "expired": 1})
        self.assertEqual(self.counts(Event.WAIT, Event.HANG_UP), {"received": 1, "cancelled": 1})
        self.assertEqual(self.counts(Event.ADMIT, Event.HEAD), {"received": 1, "in_flight": 1, "load": 10})
        self.assertEqual(self.counts(Event.ADMIT, Event.BREAK), {"received": 1, "failed": 1})
        self.assertEqual(self.counts(Event.ADMIT, Event.HEAD, Event.BREAK), {"received": 1, "failed": 1})
        self.assertEqual(self.counts(Event.ADMIT, Event.HEAD, Event.HANG_UP), {"received": 1, "cancelled": 1})
        self.assertEqual(self.counts(Event.ADMIT, Event.HEAD, Event.END), {"received": 1, "served": 1})
        in_flight = {"received": 1, "in_flight": 1, "load": 10}
        self.assertEqual(self.counts(Event.ADMIT, Event.ERROR_HEAD), in_flight)
        self.assertEqual(self.counts(Event.ADMIT, Event.ERROR_HEAD, Event.BREAK), {"received": 1, "failed": 1})
        self.assertEqual(self.counts(Event.ADMIT, Event.ERROR_HEAD, Event.HANG_UP), {"received": 1, "cancelled": 1})
        self.assertEqual(self.counts(Event.ADMIT, Event.ERROR_HEAD, Event.END), {"received": 1, "unserved": 1})

    def test_before_it_was_opened(self) -> None:
        """A request that ends before it is opened is in no count and no report."""
        for event, end in ((Event.REFUSE, State.REFUSED), (Event.HANG_UP, State.CANCELLED)):
            ledger = Ledger(10)
            untouched = everything(ledger)
            entry = PlainEntry()
            self.assertTrue(ledger.advance(entry, event, 5.0))
            self.assertEqual(entry.values(), (end, None, 0, 0.0, 0.0, 0.0, 5.0))
            self.assertEqual(everything(ledger), untouched)

    def test_an_end_changes_nothing(self) -> None:
        """Whatever comes after the end only counts as late: no figure, no record, no time of the entry changes."""
        for ways in ((Event.REFUSE,), (Event.WAIT, Event.EXPIRE), (Event.ADMIT, Event.HEAD, Event.END)):
            ledger = Ledger(10)
            entry = went(ledger, *ways)
            values, accounts = entry.values(), everything(ledger)
            for event in Event:
                self.assertFalse(ledger.advance(entry, event, 200.0))
            self.assertFalse(ledger.open(entry, 9, 9, 200.0))
            self.assertFalse(ledger.start(entry, 9, 9, 200.0))
            self.assertFalse(ledger.finish(entry, True, 200.0))
            self.assertEqual(ledger.late, len(Event) + 3)
            ledger.late = 0
            self.assertEqual((entry.values(), everything(ledger)), (values, accounts))
            self.assertIn(entry.state, ENDS)

    def test_no_work_in_errors(self) -> None:
        """A backend's error is complete and reported as received, and adds nothing to the work served."""
        ledger = Ledger(10)
        went(ledger, Event.ADMIT, Event.ERROR_HEAD, Event.END, work=999_999)
        snapshot = ledger.snapshot()
        self.assertEqual((snapshot.served, snapshot.new_load, snapshot.rejected), (0, 999_999, 0))
        self.assertTrue(snapshot.changed)
        (record,) = ledger.deletes()
        self.assertEqual((record.outcome, record.completed_at), (State.UNSERVED, 103.0))

    def test_times(self) -> None:
        """A time is 0.0 where it never came to that: without a slot none started, and none cancelled completed."""
        for events, times in [
            ((Event.ADMIT, Event.HEAD, Event.END), (100.0, 101.0, 103.0)),
            ((Event.WAIT, Event.SLOT, Event.BREAK), (100.0, 102.0, 103.0)),
            ((Event.ADMIT, Event.HEAD, Event.HANG_UP), (100.0, 101.0, 0.0)),
            ((Event.WAIT, Event.EXPIRE), (100.0, 0.0, 0.0)),
            ((Event.REFUSE,), (100.0, 0.0, 0.0)),
            ((Event.HANG_UP,), (100.0, 0.0, 0.0)),
        ]:
            ledger = Ledger(10)
            entry = went(ledger, *events)
            self.assertEqual((entry.received_at, entry.started_at), times[:2])
            self.assertEqual(entry.ended_at, 100.0 + len(events))
            (record,) = ledger.deletes()
            self.assertEqual((record.received_at, record.started_at, record.completed_at), times)

    def test_first_byte(self) -> None:
        """It is the time of the response's head, that of the end for a whole response, and 0.0 without a response."""
        for events, first_byte_at in [
            ((Event.ADMIT, Event.HEAD, Event.END), 102.0),
            ((Event.ADMIT, Event.ERROR_HEAD, Event.BREAK), 102.0),
            ((Event.WAIT, Event.SLOT, Event.BREAK), 0.0),
            ((Event.REFUSE,), 0.0),
        ]:
            self.assertEqual(went(Ledger(10), *events).first_byte_at, first_byte_at)
        ledger, entry = Ledger(10), PlainEntry()
        ledger.start(entry, 1, 5, 100.0)
        ledger.finish(entry, True, 104.0)
        self.assertEqual((entry.first_byte_at, entry.ended_at), (104.0, 104.0))


class SnapshotTests(SynchronousTestCase):
    def test_what_arrives_meanwhile(self) -> None:
        """Events between a snapshot and its acknowledgement are in the next snapshot."""
        ledger = Ledger(10)
        went(ledger, Event.ADMIT, Event.HEAD, Event.END, work=1)
        first = ledger.snapshot()
        went(ledger, Event.ADMIT, Event.HEAD, Event.END, work=20)
        went(ledger, Event.REFUSE, work=300)
        ledger.acknowledge(first)
        second = ledger.snapshot()
        self.assertEqual((first.new_load, first.served, first.rejected), (1, 1, 0))
        self.assertEqual((second.new_load, second.served, second.rejected), (20, 20, 300))
        self.assertTrue(second.changed)

    def test_never_delivered(self) -> None:
        """The content of a lost report is in the next one."""
        ledger = Ledger(10)
        went(ledger, Event.ADMIT, work=1)
        ledger.snapshot()
        went(ledger, Event.ADMIT, work=2)
        self.assertEqual(ledger.snapshot().new_load, 3)

    def test_acknowledged_again(self) -> None:
        """A snapshot acknowledged again, or after a later one, takes nothing off."""
        ledger = Ledger(10)
        went(ledger, Event.ADMIT, work=1)
        first = ledger.snapshot()
        went(ledger, Event.ADMIT, work=2)
        second = ledger.snapshot()
        for snapshot in (second, first, second):
            ledger.acknowledge(snapshot)
            self.assertEqual(ledger.snapshot().new_load, 0)
        went(ledger, Event.ADMIT, work=4)
        ledger.acknowledge(first)
        self.assertEqual(ledger.snapshot().new_load, 4)

    def test_cancelled_after_it_was_told(self) -> None:
        """Work reported as new and cancelled later makes only the next figure negative."""
        ledger = Ledger(10)
        entry = went(ledger, Event.ADMIT, work=5)
        ledger.acknowledge(ledger.snapshot())
        ledger.advance(entry, Event.HANG_UP, 110.0)
        snapshot = ledger.snapshot()
        self.assertEqual(snapshot.new_load, -5)
        ledger.acknowledge(snapshot)
        self.assertEqual(ledger.snapshot().new_load, 0)

    def test_working(self) -> None:
        """Those in flight are counted all, and named where they have a name; refused ones count as received by then."""
        ledger = Ledger(10)
        went(ledger, Event.WAIT, request_idx=3)
        went(ledger, Event.ADMIT, request_idx=None)
        went(ledger, Event.ADMIT, Event.HEAD, request_idx=4)
        went(ledger, Event.ADMIT, Event.HEAD, Event.END, request_idx=5)
        went(ledger, Event.REFUSE, request_idx=6)
        went(ledger, Event.HANG_UP, request_idx=7)
        snapshot = ledger.snapshot()
        self.assertEqual((snapshot.num_working, snapshot.working_request_idxs), (3, (3, 4)))
        self.assertEqual((snapshot.num_received, snapshot.load), (5, 30))

    def test_each_index_once(self) -> None:
        """An index that two requests have is named once, until both have ended, and under way as long."""
        ledger = Ledger(10)
        first, second = went(ledger, Event.ADMIT, request_idx=3), went(ledger, request_idx=3)
        ledger.advance(second, Event.ADMIT, 1.0)
        self.assertEqual((ledger.snapshot().num_working, ledger.snapshot().working_request_idxs), (2, (3,)))
        ledger.advance(first, Event.HANG_UP, 2.0)
        self.assertEqual((ledger.snapshot().working_request_idxs, 3 in ledger.under_way), ((3,), True))
        ledger.advance(second, Event.HANG_UP, 3.0)
        self.assertNotIn(3, ledger.under_way)

    def test_changed(self) -> None:
        """Something changed if a report would now say other things than the last that was delivered."""
        ledger = Ledger(10)
        self.assertFalse(ledger.snapshot().changed)
        entry = went(ledger, work=0)
        self.assertFalse(ledger.snapshot().changed)
        for event, changed in [(Event.WAIT, True), (Event.SLOT, False), (Event.HEAD, False), (Event.END, True)]:
            ledger.advance(entry, event, 1.0)
            self.assertEqual(ledger.snapshot().changed, changed)
            ledger.acknowledge(ledger.snapshot())
        went(ledger, Event.HANG_UP)
        self.assertFalse(ledger.snapshot().changed)
        went(ledger, Event.REFUSE, work=0)
        self.assertTrue(ledger.snapshot().changed)

    def test_frozen(self) -> None:
        """A snapshot stays as it was taken."""
        with self.assertRaises(AttributeError):
            Ledger(10).snapshot().load = 1  # type: ignore[misc]


class DeleteTests(SynchronousTestCase):
    def test_outcomes(self) -> None:
        """The record tells the end; a client that left before it was decided upon has one too."""
        ledger = Ledger(10)
        for events in [
            (Event.ADMIT, Event.HEAD, Event.END),
            (Event.ADMIT, Event.BREAK),
            (Event.REFUSE,),
            (Event.WAIT, Event.EXPIRE),
            (Event.HANG_UP,),
        ]:
            went(ledger, *events)
        outcomes = [record.outcome for record in ledger.deletes()]
        self.assertEqual(outcomes, [State.SERVED, State.FAILED, State.REFUSED, State.REFUSED, State.CANCELLED])

    def test_nobody_to_tell(self) -> None:
        """A request without request_idx leaves no record."""
        ledger = Ledger(10)
        went(ledger, Event.ADMIT, Event.HEAD, Event.END, request_idx=None)
        self.assertEqual((ledger.deletes(), ledger.served), ((), 1))

    def test_one_assignment_twice(self) -> None:
        """Two requests with one assignment leave two records, and acknowledging one leaves the other."""
        ledger = Ledger(10)
        for _ in range(2):
            went(ledger, Event.REFUSE)
        first, second = ledger.deletes()
        ledger.acknowledge_deletes([first])
        self.assertEqual(len(ledger.deletes()), 1)
        self.assertIs(ledger.deletes()[0], second)

    def test_oldest_first(self) -> None:
        """Records come oldest first, at most as many as asked for."""
        ledger = Ledger(10)
        for number in range(5):
            went(ledger, Event.REFUSE, request_idx=number)
        self.assertEqual([record.request_idx for record in ledger.deletes(limit=3)], [0, 1, 2])

    def test_bounded(self) -> None:
        """Beyond the bound the oldest are dropped and counted; acknowledging a dropped one does no harm."""
        ledger = Ledger(2)
        went(ledger, Event.REFUSE, request_idx=0)
        oldest = ledger.deletes()
        for number in (1, 2, 3):
            went(ledger, Event.REFUSE, request_idx=number)
        ledger.acknowledge_deletes(oldest)
        self.assertEqual([record.request_idx for record in ledger.deletes()], [2, 3])
        self.assertEqual(ledger.dropped_deletes, 2)

    def test_frozen(self) -> None:
        """A record cannot be changed, and equals only itself."""
        record = Completion(1, State.SERVED, 1.0, 1.0, 1.0)
        with self.assertRaises(AttributeError):
            record.outcome = State.FAILED  # type: ignore[misc]
        self.assertNotEqual(record, replace(record))
