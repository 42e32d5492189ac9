"""Requests before the gate to several backends."""

from __future__ import annotations

from collections.abc import Callable

from vespa.accounting.backend_queue import BackendQueue
from vespa.accounting.backend_slots import READY, BackendSlots


class Request:
    """A request: `told` counts its slots, `act` is what it does when it gets one, `pin` the only place for it."""

    def __init__(
        self,
        name: str = "",
        act: Callable[[Request], None] | None = None,
        pin: BackendSlots | None = None,
        number: int = 0,
    ) -> None:
        self.name = name
        self.act = act
        self.pin = pin
        self.number = number
        self.backend: BackendSlots | None = None
        self.told = self.resumed = 0

    def slot(self) -> None:
        self.told += 1
        if self.act is not None:
            self.act(self)

    def resume(self) -> None:
        self.resumed += 1
        if self.act is not None:
            self.act(self)

    def __repr__(self) -> str:
        return self.name or "a request"


def a_gate(count: int = 2, slots: int = 1, most: int = 1 << 20, affinity: bool = False) -> BackendQueue[Request]:
    """A gate to so many backends that are all well."""
    places = [BackendSlots(slots, seed) for seed in range(count)]
    gate: BackendQueue[Request] = BackendQueue(
        places,
        None,
        slots,
        most,
        pin=lambda request: request.pin,
        affinity=(lambda request: request.number) if affinity else None,
    )
    for place in places:
        gate.set_health(place, READY)
    return gate
