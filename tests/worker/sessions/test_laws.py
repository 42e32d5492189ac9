"""Sessions in any order of events, through the whole worker in memory: the accounts hold, and nothing is left."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.rig import CHUNKED, OK, Wire, post
from tests.seeds import examples
from tests.worker.requests import envelope
from tests.worker.sessions.session_rig import WORK, SessionRig, result

PAYLOADS = (b'{"lifetime": 7}', b'{"lifetime": 20, "on_close_route": "/end"}')
Step = tuple[str, int]
STEPS = st.lists(
    st.tuples(
        st.sampled_from("create create inside inside inside outside end answer stream break leave wait back".split()),
        st.integers(0, 63),
    ),
    max_size=60,
)


class Play:
    """A worker, its callers and its backend, which take steps. The numbers choose among what there is."""

    def __init__(self) -> None:
        self.rig = SessionRig(max_sessions=3, concurrency=3, max_queue=4, max_wait=100.0)
        self.rig.gate.throughput = 1.0
        self.ids: list[tuple[str, int]] = [("unknown", 1)]
        self.clients: list[Wire] = []
        self.index = 100

    def take(self, name: str, number: int) -> None:
        getattr(self, name)(number)
        self.check()

    def create(self, number: int) -> None:
        self.index += 1
        client = self.rig.ask(post(envelope(PAYLOADS[number % 2], request_idx=self.index), b"/session/create"))
        code, members = result(client)
        if code == 201:
            self.ids.append((members["session_id"], self.index))

    def inside(self, number: int) -> None:
        session_id, index = self.ids[-1 - number % min(4, len(self.ids))]
        self.clients.append(self.rig.inside(session_id, request_idx=index))

    def outside(self, number: int) -> None:
        self.index += 1
        self.clients.append(self.rig.ask(post(envelope(b"{}", request_idx=self.index), b"/v1")))

    def end(self, number: int) -> None:
        session_id, index = self.ids[-1 - number % min(4, len(self.ids))]
        self.clients.append(self.rig.named("/session/end", session_id, request_idx=index))

    def answer(self, number: int) -> None:
        self._backend(number, OK)

    def stream(self, number: int) -> None:
        self._backend(number, CHUNKED + b"1\r\nx\r\n")

    def _backend(self, number: int, data: bytes) -> None:
        waiting = [wire for wire in self.rig.backend.open if wire.value() and not getattr(wire, "streams", False)]
        if waiting:
            wire = waiting[number % len(waiting)]
            wire.read()
            wire.streams = data is not OK  # type: ignore[attr-defined]
            wire.send(data)

    def break_(self, number: int) -> None:
        if opened := self.rig.backend.open:
            opened[number % len(opened)].hang_up()

    def leave(self, number: int) -> None:
        if opened := [client for client in self.clients if client.open]:
            opened[number % len(opened)].hang_up()

    def wait(self, number: int) -> None:
        self.rig.clock.pump([1.0] * (number % 12))

    def back(self, number: int) -> None:
        """The machine's clock is set back. The timers are kept as they were, to go on."""
        clock = self.rig.clock
        for call in clock.getDelayedCalls():
            call.time -= float(number)
        clock.rightNow -= float(number)

    def check(self) -> None:
        """The laws, at any moment."""
        rig = self.rig
        assert rig.sessions is not None
        ledger, table = rig.ledger, rig.sessions.table.sessions
        assert rig.balanced()
        assert len(table) <= 3
        assert ledger.session_load == WORK * len(table)
        assert ledger.load >= ledger.session_load
        inside = sum(len(session.in_flight) for session in table.values())
        outside = ledger.in_flight - len(table) - inside
        assert ledger.load == WORK * (len(table) + outside), "what is inside is in no load"
        assert not any(session.is_closing and session.in_flight for session in table.values())

    def finish(self) -> None:
        """Everybody leaves, and all time passes."""
        for client in self.clients:
            if client.open:
                client.hang_up()
        self.rig.clock.pump([1.0] * 15 + [5.0] * 300)
        self.check()
        rig = self.rig
        assert rig.sessions is not None
        counts = rig.sessions.counts()
        assert rig.settled()
        assert rig.sessions.table.sessions == {}
        assert counts["opened"] == counts["ended"] + counts["expired"]
        told = [record.request_idx for record in rig.ledger.deletes()]
        assert len(told) == len(set(told))
        assert {index for _, index in self.ids[1:]} <= set(told), "each session is reported once"


class LawTests(SynchronousTestCase):
    @settings(max_examples=examples(150), deadline=None)
    @given(STEPS)
    def test_any_order(self, steps: list[Step]) -> None:
        """Whatever happens in whatever order, the books hold, a session's work is in the load once, and all ends."""
        play = Play()
        for name, number in steps:
            play.take({"break": "break_"}.get(name, name), number)
        play.finish()
