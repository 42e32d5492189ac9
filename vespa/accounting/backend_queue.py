"""The gate to several backends: it chooses the backend of each request, and has slots and a queue for each."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol, TypeVar

from vespa.accounting.backend_lines import BackendLines
from vespa.accounting.backend_slots import DOWN, BackendSlots, best, compare_speeds, least
from vespa.accounting.fair_queue import FairQueue, Waiter


class BackendWaiter(Waiter, Protocol):
    """A request before several backends. `backend` is that of its slot."""

    backend: BackendSlots | None


Key = TypeVar("Key", bound=BackendWaiter)


class BackendQueue(FairQueue[Key]):
    """
    A gate with slots for each of several backends. These laws hold in any order of events:

    1. No backend has more requests than slots.
    2. A request that may go to any backend gets the first slot that becomes free at a usable one. Usable are those that
       are READY, or, if none is, those that are SUSPECT.
    3. A request that is pinned waits for its own backend only, and gets a slot of it also while that is suspect.
    4. Of the requests that may have a slot, the first that came gets it. One that is moved comes before all.
    5. `load` of a backend is the sum of what is charged for the requests at it, and 0 when there are none. No charge is
       negative.

    The work of an operation is constant or linear in the number of backends, but for `queued`, `dismiss` and
    `set_health`, which name many.
    """

    def __init__(
        self,
        backends: Sequence[BackendSlots],
        max_wait_seconds: float | None,
        slots: int,
        max_queue: int,
        *,
        pin: Callable[[Key], BackendSlots | None] = lambda key: None,
        affinity: Callable[[Key], int | None] | None = None,
    ) -> None:
        """
        `slots` is the maximum of requests at each backend; 0: no limit. `pin` returns the only backend for a request;
        None: any. It may raise Refusal. `affinity` returns a number of 64 bits, or None: requests with the same number
        go to the same backend as far as its load allows.
        """
        super().__init__(max_wait_seconds, slots * len(backends), max_queue)
        self.backends = tuple(backends)
        self._pin = pin
        self._affinity = affinity
        self._usable: list[BackendSlots] = []
        self._charges: dict[Key, int] = {}  # of those with a slot, and of the tunnels
        self._tunnels: set[Key] = set()
        self._lines: BackendLines[Key] = BackendLines(backends)  # with the same keys as `_waiting`
        self._resume: dict[Key, Callable[[], None]] = {}
        self._turns = 0

    # -- before a slot

    def admit(self, key: Key, load: int) -> bool:
        """As `FairQueue.admit`. If the request gets a slot, its `backend` is set. Raises what `pin` raises, too."""
        if key in self._working or key in self._waiting:
            raise ValueError("this key is already inside the gate")
        if load > self._surely_within:
            self.check_wait(load)
        pinned = self._pin(key)
        backend = self._best(key) if pinned is None else pinned if not pinned.full else None
        if backend is None:
            self._queue(key, load)
            self._lines.add(key, pinned)
            return False
        self._take(key, backend)
        return True

    @property
    def full(self) -> bool:
        """Whether each usable backend has all the requests that it may have. One that is left out does not count."""
        return bool(self._usable) and all(each.full for each in self._usable)

    def least(self) -> BackendSlots | None:
        """The usable backend whose work is done soonest, with a free slot or not; None if none is usable."""
        return least(self._usable)

    def charge(self, key: Key, work: int) -> None:
        """Count the work of a request at its backend. Ignored if it holds no slot."""
        if key in self._working:
            backend = key.backend
            assert backend is not None
            backend.load += work - self._charges.get(key, 0)
            self._charges[key] = work

    def lower_charge(self, key: Key, work: int) -> None:
        """No more than this `work` is left of a request at a backend. Ignored if it is at none, or charged less."""
        less = self._charges.get(key, 0) - max(work, 0)
        if less > 0:
            backend = key.backend
            assert backend is not None
            backend.load -= less
            self._charges[key] -= less

    # -- after it

    def release(self, key: Key) -> Key | None:
        """Free the key's slot. Returns the key that now holds it, or None. Does nothing for an unknown key."""
        if key not in self._working:
            return None
        backend = self._give_up(key)
        return self._successor(backend) if self._waiting else None

    def free(self, key: Key) -> None:
        """As `FairQueue.free`. Also ends what `upgraded` began."""
        if key in self._working:
            backend = self._give_up(key)
            if self._waiting:
                self._pass_on(backend)
                self._hand_on()
        elif key in self._tunnels:
            backend = key.backend  # type: ignore[assignment]
            self._tunnels.remove(key)
            backend.tunnels -= 1
            backend.load -= self._charges.pop(key)
        else:
            self.leave(key)

    def upgraded(self, key: Key) -> None:
        """The request gives up its slot, and its work stays at its backend until `free`."""
        if key not in self._working:
            return
        work = self._charges.get(key, 0)
        backend = self._give_up(key)
        self._tunnels.add(key)
        backend.tunnels += 1
        backend.load += work
        self._charges[key] = work
        if self._waiting:
            self._pass_on(backend)
            self._hand_on()

    def move(self, key: Key, tried: Collection[BackendSlots], resume: Callable[[], None]) -> bool:
        """
        Take a request that holds a slot to another backend, none of those it has `tried`.

        True: it has a slot there. False: all are taken, so it waits before all others for a slot anywhere, and `resume`
        is called in the place of `slot`.
        """
        work = self._charges.get(key, 0)
        before = self._give_up(key)
        backend = self._best(key, tried)
        if backend is not None:
            self._take(key, backend)
            self.charge(key, work)
        if self._waiting:
            self._pass_on(before)
        if backend is None:
            self._waiting[key] = None
            self._lines.add_moved(key)
            self._resume[key] = resume
        self._hand_on()
        return backend is not None

    def can_move(self, tried: Collection[BackendSlots]) -> bool:
        """Whether a backend is usable that is not among the `tried` ones."""
        return any(backend not in tried for backend in self._usable)

    def leave(self, key: Key) -> bool:
        """Take a key out of the queue. Returns False if it was not there."""
        if not super().leave(key):
            return False
        self._lines.remove(key)
        self._resume.pop(key, None)
        return True

    def queued(self) -> list[Key]:
        """The keys in the queue, first come first."""
        return self._lines.in_order()

    # -- the backends

    def set_health(self, backend: BackendSlots, health: int) -> list[Key]:
        """
        A backend's health has changed. Those who wait get the slots that this makes usable.

        Returns the requests that waited for this backend alone, if it is DOWN. They have left the queue.
        """
        backend.health = health
        best_health = max(each.health for each in self.backends)
        self._usable = [each for each in self.backends if each.health == best_health != DOWN]
        compare_speeds(self._usable)
        lost = self._lines.pinned_to(backend) if health == DOWN else []
        for key in lost:
            self.leave(key)
        for each in self._usable:
            if self._waiting:
                self._pass_on(each)
        self._hand_on()
        return lost

    def set_throughput(self, backend: BackendSlots, throughput: float | None) -> None:
        """A backend was measured, in units of work a second; None: it is not known how fast it is."""
        backend.throughput = throughput
        compare_speeds(self._usable)

    # -- inside

    def _take(self, key: Key, backend: BackendSlots) -> None:
        self._working.add(key)
        key.backend = backend
        backend.working += 1
        self._turns += 1
        backend.turn = self._turns

    def _give_up(self, key: Key) -> BackendSlots:
        self._working.remove(key)
        if self._resume:
            self._resume.pop(key, None)  # it leaves before it is told of its slot
        backend = key.backend
        assert backend is not None
        backend.working -= 1
        backend.load -= self._charges.pop(key, 0)
        return backend

    def _pass_on(self, backend: BackendSlots) -> None:
        """Give the free slots of a backend to those who wait for one. `_hand_on` tells them."""
        while not backend.full:
            following = self._successor(backend)
            if following is None:
                return
            self._next.append(following)

    def _successor(self, backend: BackendSlots) -> Key | None:
        """The first who may have a slot of this backend, and now has it; None if nobody waits for one."""
        key = self._lines.take(backend, backend in self._usable)
        if key is not None:
            del self._waiting[key]
            self._take(key, backend)
        return key

    def _tell(self, key: Key) -> None:
        (self._resume.pop(key, None) or key.slot)()

    def _best(self, key: Key, tried: Collection[BackendSlots] = ()) -> BackendSlots | None:
        return best(self._usable, tried, self._affinity(key) if self._affinity is not None else None)
