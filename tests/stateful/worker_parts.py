"""Parts that not every worker has: what reads responses, works on after them, and has to be stopped."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, field

from vespa.accounting.backend_slots import BackendSlots
from vespa.accounting.lifecycle import CONNECTING, STREAMING, STREAMING_ERROR, WAITING
from vespa.protocol.refusal import Refusal
from vespa.protocol.response_head import ResponseHead
from vespa.proxy.exchange import Exchange
from vespa.transport.origin import Origin
from vespa.worker.admission import WorkerAdmission

IN_FLIGHT = (WAITING, CONNECTING, STREAMING, STREAMING_ERROR)


@define(eq=False)
class Reader:
    """Reads one response. `keeps`: the backend works on after it."""

    exchange: Exchange
    keeps: bool
    ends: list[str] = field(factory=list)

    def read(self, data: bytes) -> None:
        assert data and not self.ends

    def end(self) -> bool:
        self.ends.append("end")
        return self.keeps

    def lost(self) -> None:
        self.ends.append("lost")

    @property
    def open(self) -> bool:
        """Whether the backend works on for a request whose response has passed."""
        return self.keeps and self.ends == ["end"] and self.exchange.state is STREAMING


class Readers:
    """Reads some of the responses: of three requests one is not read, and one is worked on after its response."""

    def __init__(self) -> None:
        self.all: list[Reader] = []

    def __call__(self, exchange: Exchange, head: ResponseHead, length: int) -> Reader | None:
        if len(exchange.head.target) % 3 == 0:
            return None
        self.all.append(Reader(exchange, keeps=len(exchange.head.target) % 3 == 1))
        return self.all[-1]

    @property
    def open(self) -> list[Reader]:
        return [each for each in self.all if each.open]

    def work_ends(self, reader: Reader, how: int) -> None:
        """The work of a request ends, well or not."""
        failure = Refusal(502, "truncated_reply", "the work failed", origin="backend")
        for _ in range(1 + how % 2):
            reader.exchange.work_ended(failure if how // 2 % 2 else None)

    def check(self) -> None:
        for each in self.all:
            assert len(each.ends) <= 1, each.ends

    def check_end(self) -> None:
        for each in self.all:
            assert len(each.ends) == 1, (each.exchange.state, each.ends)


def several(count: int) -> list[Origin]:
    """The addresses of so many backends."""
    return [Origin("http", "backend", 8000 + number, b"") for number in range(count)]


def check_places(places: Sequence[BackendSlots], slots: int, working: int) -> None:
    """No backend has more requests than slots, and each that holds a slot is at one."""
    for place in places:
        assert place.working >= 0 and place.tunnels >= 0 and place.load >= 0
        assert not slots or place.working <= slots
    if places:
        assert sum(place.working for place in places) == working


class SlowEngine:
    """Stops the work of callers that leave, but not at once."""

    def __init__(self) -> None:
        self.admission: WorkerAdmission | None = None
        self.working: set[Exchange] = set()
        self.stopping: list[Exchange] = []

    def admitted(self, exchange: Exchange) -> None:
        assert exchange not in self.working, "admitted twice"
        self.working.add(exchange)

    def left(self, exchange: Exchange) -> bool:
        assert exchange in self.working, "it was never admitted"
        if len(exchange.head.target) % 2:
            return False
        assert exchange not in self.stopping, "left twice"
        self.stopping.append(exchange)
        return True

    def stop(self, exchange: Exchange) -> None:
        """The work has stopped."""
        assert self.admission is not None
        self.stopping.remove(exchange)
        self.admission.engine_stopped(exchange)
