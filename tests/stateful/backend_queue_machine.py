"""The gate to several backends under events in any order, beside a slow model of it that only has lists."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define

from tests.accounting.backend_waiters import Request
from vespa.accounting.backend_queue import BackendQueue
from vespa.accounting.backend_slots import DOWN, READY, SUSPECT, BackendSlots
from vespa.protocol.refusal import Refusal

Act = Callable[[Request], None]


@define(eq=False)
class Waiting:
    """A request in the model's queue: `moved` is what it has tried if it was moved."""

    request: Request
    moved: tuple[BackendSlots, ...] | None = None


class BackendQueueMachine:
    """Does one thing after the other, and compares who has which slot with the model."""

    def __init__(self, count: int, slots: int, most: int, affinity: bool) -> None:
        self.places = [BackendSlots(slots, seed) for seed in range(count)]
        self.slots = slots
        self.most = most
        self.gate: BackendQueue[Request] = BackendQueue(
            self.places,
            None,
            slots,
            most,
            pin=lambda request: request.pin,
            affinity=(lambda request: request.number or None) if affinity else None,
        )
        self.queue: list[Waiting] = []  # first come first, those that were moved before all others
        self.working: dict[Request, BackendSlots] = {}
        self.tunnels: dict[Request, BackendSlots] = {}
        self.work: dict[Request, int] = {}
        self.throughput: dict[BackendSlots, float] = {}
        self.ended: list[Request] = []  # the newest of them
        self.told: list[Request] = []
        self.expected: list[Request] = []
        self.count = 0

    # -- the model

    def usable(self) -> list[BackendSlots]:
        """The places for those who may go anywhere."""
        best = max(place.health for place in self.places)
        return [place for place in self.places if place.health == best != DOWN]

    def seconds(self, place: BackendSlots) -> float:
        """How long a usable place has to do; its work alone, if one of them was not measured."""
        known = all(each in self.throughput for each in self.usable())
        return place.load / self.throughput[place] if known else place.load

    def free_at(self, place: BackendSlots) -> bool:
        used = sum(1 for each in self.working.values() if each is place)
        return not self.slots or used < self.slots

    def may_have(self, waiting: Waiting, place: BackendSlots) -> bool:
        """Whether one who waits may have a slot of this place."""
        pin = waiting.request.pin
        if pin is not None and waiting.moved is None:
            return pin is place
        return place in self.usable()

    def hand_on(self, places: list[BackendSlots]) -> None:
        """Expect that the free slots of these places go to the first who may have them."""
        for place in places:
            while self.free_at(place):
                fitting = [each for each in self.queue if self.may_have(each, place)]
                if not fitting:
                    break
                self.queue.remove(fitting[0])
                self.working[fitting[0].request] = place
                self.expected.append(fitting[0].request)

    # -- what happens

    def step(self, name: str, a: int, b: int) -> None:
        """Do one thing; `a` and `b` choose with what."""
        getattr(self, f"do_{name}")(a, b)
        self.check()

    def do_admit(self, a: int, b: int) -> None:
        self.count += 1
        pin = self.places[a % len(self.places)] if b % 3 == 0 else None
        if pin is not None and pin.health == DOWN:
            return  # it is refused before
        request = Request(str(self.count), self._heard, pin, b % 5)
        candidates = [place for place in ([pin] if pin is not None else self.usable()) if self.free_at(place)]
        if not candidates and len(self.queue) >= self.most:
            try:
                self.gate.admit(request, 0)
            except Refusal as refusal:
                assert refusal.code == "queue_full"
                return
            raise AssertionError("the queue has more than its places")
        assert self.gate.admit(request, 0) is bool(candidates)
        if candidates:
            assert request.backend in candidates
            if not request.number and pin is None:
                assert self.seconds(request.backend) == min(self.seconds(place) for place in candidates)
            self.working[request] = request.backend
        else:
            self.queue.append(Waiting(request))

    def do_charge(self, a: int, b: int) -> None:
        request = self._some(list(self.working), a)
        if request is not None:
            self.work[request] = b % 100
            self.gate.charge(request, b % 100)

    def do_lower(self, a: int, b: int) -> None:
        """Work is done: of a request at a backend, or late, of one that waits or has ended."""
        request = self._some([*self.working, *self.tunnels, *(each.request for each in self.queue), *self.ended], a)
        if request is None:
            return
        left = b % 100 - 10
        if request in self.work:
            self.work[request] = min(self.work[request], max(left, 0))
        self.gate.lower_charge(request, left)

    def do_free(self, a: int, b: int) -> None:
        request = self._some([*self.working, *self.tunnels, *(each.request for each in self.queue)], a)
        if request is None:
            return
        place = self.working.pop(request, None)
        self.work.pop(request, None)
        self.tunnels.pop(request, None)
        self.queue = [each for each in self.queue if each.request is not request]
        if place is not None:
            self.hand_on([place])
        self.gate.free(request)
        self.gate.free(request)  # the second time it is a stranger
        self.ended = [*self.ended[-2:], request]

    def do_upgrade(self, a: int, b: int) -> None:
        request = self._some(list(self.working), a)
        if request is not None:
            place = self.working.pop(request)
            self.tunnels[request] = place
            self.hand_on([place])
            self.gate.upgraded(request)

    def do_move(self, a: int, b: int) -> None:
        request = self._some([each for each in self.working if each.pin is None], a)
        if request is None:
            return
        before = self.working[request]
        tried = (before, *([self.places[b % len(self.places)]] if b % 2 else ()))
        can = [place for place in self.usable() if place not in tried]
        assert self.gate.can_move(tried) is bool(can)
        if not can:
            return
        del self.working[request]
        free = [place for place in can if self.free_at(place)]
        # Its old slot goes on before it waits itself, so that it does not get it back.
        self.hand_on([before])
        assert self.gate.move(request, tried, request.resume) is bool(free)
        if free:
            assert request.backend in free
            self.working[request] = request.backend
        else:
            at = sum(1 for each in self.queue if each.moved is not None)
            self.queue.insert(at, Waiting(request, tried))
            self.work.pop(request, None)

    def do_health(self, a: int, b: int) -> None:
        place = self.places[a % len(self.places)]
        health = (DOWN, SUSPECT, READY, READY)[b % 4]
        place.health = health  # the model reads it there, and the gate sets the same
        gone = [each for each in self.queue if health == DOWN and each.moved is None and each.request.pin is place]
        self.queue = [each for each in self.queue if each not in gone]
        self.hand_on(self.usable())
        assert self.gate.set_health(place, health) == [each.request for each in gone]

    def do_measured(self, a: int, b: int) -> None:
        place = self.places[a % len(self.places)]
        throughput = (None, 64.0, 64.0, 128.0, 256.0)[b % 5]  # powers of two: no quotient is rounded
        self.gate.set_throughput(place, throughput)
        self.throughput.pop(place, None)
        if throughput is not None:
            self.throughput[place] = throughput

    def do_dismiss(self, a: int, b: int) -> None:
        if b % 8 == 0:
            assert self.gate.dismiss() == [each.request for each in self.queue]
            self.queue = []

    # -- the laws

    def check(self) -> None:
        """Who was told, in which order; who is where; what each backend has to do."""
        assert self.told == self.expected, (self.told, self.expected)
        assert self.gate.queued() == [each.request for each in self.queue]
        assert (self.gate.working, self.gate.waiting) == (len(self.working), len(self.queue))
        for request, place in self.working.items():
            assert request.backend is place
        for place in self.places:
            here = [request for request, each in [*self.working.items(), *self.tunnels.items()] if each is place]
            working = [request for request, each in self.working.items() if each is place]
            assert place.working == len(working) and place.tunnels == len(here) - len(working)
            assert not self.slots or place.working <= self.slots, "more requests than slots"
            assert place.load == sum(self.work.get(request, 0) for request in here)
            for waiting in self.queue:
                if self.may_have(waiting, place) and self.free_at(place):
                    assert waiting.moved is not None and place in waiting.moved, "it waits though a slot is free"

    def end(self) -> None:
        """Nobody starves: when all backends are well and all requests end, everyone had a slot."""
        for place in range(len(self.places)):
            self.step("health", place, 2)
        while self.working or self.tunnels:
            self.step("free", 0, 0)
        assert not self.queue and not self.gate.waiting
        assert [place.load for place in self.places] == [0] * len(self.places)

    def _heard(self, request: Request) -> None:
        assert request.told + request.resumed <= 1 + self.told.count(request)
        self.told.append(request)

    def _some(self, requests: list[Request], a: int) -> Request | None:
        return requests[a % len(requests)] if requests else None
