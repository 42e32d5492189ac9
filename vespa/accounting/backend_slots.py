"""The slots and the load of each of several backends, and the choice between these."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from vespa.accounting.affinity import in_order_of_affinity

DOWN: Final = 0
"""It gets no requests."""
SUSPECT: Final = 1
"""It gets requests only if no backend is READY, and those that are pinned to it."""
READY: Final = 2

AFFINITY_LOAD: Final = 1.25
"""A backend may have so many times the mean of requests at a backend, before affinity passes it over."""
AFFINITY_FLOOR: Final = 4
"""With fewer requests than this, a backend is not passed over: sharing a cache gains more than an even load."""


class BackendSlots:
    """
    A backend as its gate (`backend_queue.BackendQueue`) knows it. Only the gate changes it.

    `health` is DOWN, SUSPECT or READY. `slots` is the maximum of requests at once; 0: no limit. `working` hold a slot,
    and `tunnels` gave theirs up when their connections were upgraded. `load` is the work of both, in millionths.
    `throughput` is in units of work a second, None if it is not known. `slowness` is how many times as long it takes
    for the same work as the fastest of those that are usable (`compare_speeds`). `seed` is its own for affinity, the
    same in each process.
    """

    def __init__(self, slots: int, seed: int = 0) -> None:
        self.slots = slots
        self.seed = seed
        self.health = DOWN
        self.working = 0
        self.tunnels = 0
        self.load = 0
        self.throughput: float | None = None
        self.slowness = 1.0
        self.turn = 0  # the number of the last request that was given to it

    @property
    def full(self) -> bool:
        """Whether no slot is free."""
        return 0 < self.slots <= self.working


def best(
    usable: Sequence[BackendSlots], tried: Collection[BackendSlots] = (), number: int | None = None
) -> BackendSlots | None:
    """
    The backend for a request that may go to any that is usable: None if every one is full or was tried.

    It is that of `least`, or by affinity if there is a `number`.
    """
    free = [backend for backend in usable if not 0 < backend.slots <= backend.working and backend not in tried]
    if number is not None and len(free) > 1:
        requests = sum(backend.working for backend in usable) + 1
        limit = max(AFFINITY_FLOOR, AFFINITY_LOAD * requests / len(usable))
        for backend in in_order_of_affinity(number, free):
            if backend.working < limit:
                return backend
    return least(free)


def least(backends: Sequence[BackendSlots]) -> BackendSlots | None:
    """The backend whose work is done soonest; of several that with the fewest requests; of several the next in turn."""
    chosen, shortest = None, 0.0
    for backend in backends:  # each request passes here, and `min` with a key takes longer
        time = backend.load * backend.slowness
        if chosen is None or time < shortest:
            chosen, shortest = backend, time
        elif time == shortest:
            requests = backend.working + backend.tunnels
            if (requests, backend.turn) < (chosen.working + chosen.tunnels, chosen.turn):
                chosen = backend
    return chosen


def compare_speeds(usable: Sequence[BackendSlots]) -> None:
    """
    Set the `slowness` of each: by `throughput`, or 1.0 for all, which compares their work alone, if one has no figure.

    It is exactly 1.0 where they are equally fast.
    """
    figures = [backend.throughput for backend in usable if backend.throughput]
    known = len(figures) == len(usable)
    for backend in usable:
        backend.slowness = max(figures) / backend.throughput if known and backend.throughput else 1.0
