"""The ledger and the gate together, as an exchange uses them, in any order of events."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.trial.unittest import SynchronousTestCase

from tests.accounting.entries import PlainEntry
from tests.seeds import examples
from vespa.accounting.fair_queue import FairQueue
from vespa.accounting.ledger import Ledger
from vespa.accounting.lifecycle import (
    BREAK,
    CONNECTING,
    END,
    ENDS,
    ERROR_HEAD,
    EXPIRE,
    HANG_UP,
    HEAD,
    READING,
    REFUSAL_EVENT,
    REFUSE,
    SLOT,
    STREAMING,
    STREAMING_ERROR,
    WAIT,
    WAITING,
    Event,
)
from vespa.protocol.refusal import Refusal

AT_BACKEND = (CONNECTING, STREAMING, STREAMING_ERROR)
IN_FLIGHT = (WAITING, *AT_BACKEND)

numbers = st.integers(0, 50)
acts = st.sampled_from(["", "fail", "fail", "clear"])
arrivals = st.tuples(st.none() | st.integers(0, 5), st.integers(0, 2_000_000), acts)


class Request(PlainEntry):
    """A request: the ledger's entry, the gate's key, and what waits."""

    def __init__(self, machine: AccountingMachine, act: str) -> None:
        super().__init__()
        self.machine = machine
        self.act = act
        self.upgraded = False
        self.heard = 0
        self.values_at_end: tuple[object, ...] | None = None

    def slot(self) -> None:
        """Its turn; in some cases it fails on the spot, or others end within it."""
        machine = self.machine
        machine.depth += 1
        assert machine.depth == 1, "nobody's turn comes within another's"
        assert self.state is WAITING, "only who waits hears"
        self.heard += 1
        machine.heard.append(self)
        assert machine.ledger.advance(self, SLOT, machine.now)
        if self.act == "clear":
            for other in machine.having(*AT_BACKEND):
                machine.settle(other, BREAK)
            # Some of these have their slot already, and have not heard.
            for other in machine.having(WAITING)[:1]:
                machine.settle(other, HANG_UP)
        elif self.act == "fail":
            machine.settle(self, BREAK)
        machine.depth -= 1


class AccountingMachine(RuleBasedStateMachine):
    """Requests come, wait, get slots, and end, in any order; so do events that come too late."""

    @initialize(
        limit=st.none() | st.none() | st.floats(0, 20),
        slots=st.integers(0, 3),
        places=st.integers(0, 9),
        pending=st.integers(0, 5),
    )
    def begin(self, limit: float | None, slots: int, places: int, pending: int) -> None:
        self.gate: FairQueue[Request] = FairQueue(limit, slots, places)
        self.gate.throughput = 1.0
        self.ledger = Ledger(pending)
        self.slots = slots
        self.requests: list[Request] = []
        self.queued: list[Request] = []
        self.heard: list[Request] = []
        self.depth = 0
        self.now = 100.0
        self.ended_with_idx = 0

    def having(self, *states: object) -> list[Request]:
        return [request for request in self.requests if request.state in states]

    def settle(self, request: Request, event: Event) -> None:
        """Record an event as an exchange does: what an end holds is given up."""
        before = request.state
        if self.ledger.advance(request, event, self.now) and request.state in ENDS:
            self.gate.free(request)
            self._note_end(request, opened=before is not READING)

    def _note_end(self, request: Request, opened: bool) -> None:
        request.values_at_end = request.values()
        self.ended_with_idx += opened and request.request_idx is not None

    # -- what may happen

    @rule(burst=st.lists(arrivals, min_size=1, max_size=5))
    def arrive(self, burst: list[tuple[int | None, int, str]]) -> None:
        """Requests come one after the other."""
        for idx, work, act in burst:
            self._arrive(idx, work, act)

    def _arrive(self, idx: int | None, work: int, act: str) -> None:
        """A request is understood, and decided upon."""
        self.now += 1
        request = Request(self, act)
        self.requests.append(request)
        ledger = self.ledger
        try:
            admitted = self.gate.admit(request, ledger.load)
        except Refusal:
            assert ledger.open(request, idx, work, self.now)
            self.settle(request, REFUSE)
            return
        if admitted:
            assert ledger.start(request, idx, work, self.now)
        else:
            self.queued.append(request)
            assert ledger.open(request, idx, work, self.now)
            assert ledger.advance(request, WAIT, self.now)

    @rule(event=st.sampled_from([REFUSE, HANG_UP]))
    def not_understood(self, event: Event) -> None:
        """A request that ends before it is understood."""
        request = Request(self, "")
        self.requests.append(request)
        self.settle(request, event)

    @precondition(lambda self: self.having(*IN_FLIGHT))
    @rule(number=numbers, event=st.sampled_from([EXPIRE, HANG_UP, HEAD, ERROR_HEAD, BREAK, END]))
    def happen(self, number: int, event: Event) -> None:
        """Something happens to a request in flight, be it in the table or not."""
        self.now += 1
        requests = self.having(*IN_FLIGHT)
        self.settle(requests[number % len(requests)], event)

    @precondition(lambda self: self.having(*IN_FLIGHT))
    @rule(number=numbers)
    def refuse(self, number: int) -> None:
        """An error of ours ends it, whatever its state."""
        requests = self.having(*IN_FLIGHT)
        request = requests[number % len(requests)]
        self.settle(request, REFUSAL_EVENT[request.state])
        assert request.state in ENDS

    @precondition(lambda self: self.having(*IN_FLIGHT))
    @rule(number=numbers, served=st.booleans())
    def respond(self, number: int, served: bool) -> None:
        """The whole response came, or the rest of it; in vain for one that waits."""
        self.now += 1
        requests = self.having(*IN_FLIGHT)
        request = requests[number % len(requests)]
        waits = request.state is WAITING
        assert self.ledger.finish(request, served, self.now) is not waits
        if not waits:
            self._note_end(request, opened=True)
            self.gate.free(request)

    @precondition(lambda self: self.having(*AT_BACKEND))
    @rule(number=numbers)
    def upgrade(self, number: int) -> None:
        """A connection becomes another protocol's: its slot is free, its work stays counted."""
        requests = self.having(*AT_BACKEND)
        request = requests[number % len(requests)]
        request.upgraded = True
        self.gate.free(request)

    @rule()
    def dismiss(self) -> None:
        """All waiting requests are notified that they get no slot."""
        waiting = self.having(WAITING)
        dismissed = self.gate.dismiss()
        assert dismissed == [request for request in self.queued if request in waiting], "in the order they came in"
        for request in dismissed:
            self.settle(request, EXPIRE)

    @precondition(lambda self: self.having(*ENDS))
    @rule(number=numbers, event=st.sampled_from(Event), how=st.integers(0, 4))
    def come_too_late(self, number: int, event: Event, how: int) -> None:
        """Nothing that happens to a request that has ended changes anything but the count of what came late."""
        requests = self.having(*ENDS)
        request = requests[number % len(requests)]
        ledger, late = self.ledger, self.ledger.late
        books = self._books()
        if how == 0:
            assert not ledger.open(request, 1, 1, self.now)
        elif how == 1:
            assert not ledger.start(request, 1, 1, self.now)
        elif how == 2:
            assert not ledger.finish(request, True, self.now)
        else:
            assert not ledger.advance(request, event, self.now)
        self.gate.free(request)
        assert ledger.late == late + 1
        assert self._books() == books

    @rule(throughput=st.sampled_from([0.0, 0.5, 1.0, 10.0]))
    def measure(self, throughput: float) -> None:
        """The backend is measured again."""
        self.gate.throughput = throughput

    def _books(self) -> tuple[Any, ...]:
        ledger = self.ledger
        records = tuple(map(id, ledger.deletes()))
        return ledger.snapshot(), records, dict(ledger.under_way), self.gate.working, self.gate.waiting

    # -- what always holds

    @invariant()
    def sums(self) -> None:
        """The load is the sum of the work in flight, and each request and each index is in one count."""
        ledger = self.ledger
        flying = self.having(*IN_FLIGHT)
        assert (ledger.in_flight, ledger.load) == (len(flying), sum(request.work for request in flying))
        ends = ledger.served + ledger.unserved + ledger.failed + ledger.cancelled + ledger.expired
        assert ledger.received == ends + ledger.in_flight
        assert set(ledger.under_way) == {request.request_idx for request in flying} - {None}
        assert sum(ledger.under_way.values()) == sum(request.request_idx is not None for request in flying)
        assert len(ledger.deletes()) + ledger.dropped_deletes == self.ended_with_idx

    @invariant()
    def slots_once(self) -> None:
        """Who is at the backend holds a slot, unless it was upgraded, and nobody else; none is free while one waits."""
        gate = self.gate
        assert gate.working == sum(not request.upgraded for request in self.having(*AT_BACKEND))
        assert gate.waiting == len(self.having(WAITING))
        assert not self.slots or gate.working <= self.slots
        assert not gate.waiting or gate.working == self.slots

    @invariant()
    def in_order(self) -> None:
        """Turns come in the order of the queue, to each once: no one waits that came before one that heard."""
        assert all(request.heard <= 1 for request in self.requests)
        assert self.heard == [request for request in self.queued if request.heard]
        if self.heard:
            before = self.queued[: self.queued.index(self.heard[-1])]
            assert not any(request.state is WAITING for request in before)

    @invariant()
    def ends_stay(self) -> None:
        """A request that has ended stays as it is."""
        for request in self.having(*ENDS):
            assert request.values() == request.values_at_end

    def teardown(self) -> None:
        """When everyone has left nothing is held."""
        for request in self.having(READING, *IN_FLIGHT) if hasattr(self, "requests") else ():
            self.settle(request, HANG_UP)
            if request.state is not WAITING and request.state not in ENDS:
                raise AssertionError("a client may always leave")
        if hasattr(self, "requests"):
            assert (self.ledger.load, self.ledger.in_flight, self.gate.working, self.gate.waiting) == (0, 0, 0, 0)


class AccountingTests(SynchronousTestCase):
    def test_any_order_of_events(self) -> None:
        """Whatever happens in whatever order: sums are exact, a slot is given up once, turns come in order."""
        run_state_machine_as_test(
            AccountingMachine, settings=settings(max_examples=examples(100), stateful_step_count=60)
        )
