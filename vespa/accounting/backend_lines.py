"""Those who wait for a slot at one of several backends, in the order in which they get one."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

from vespa.accounting.backend_slots import BackendSlots

Key = TypeVar("Key", bound=Hashable)


class BackendLines(Generic[Key]):
    """
    Each key waits in one of these lines: of a backend, for those who wait for that alone; of all others; or of those
    that were moved, who come before all.

    `take` is constant in the number of keys, because each has the number of its arrival.
    """

    def __init__(self, backends: Iterable[BackendSlots]) -> None:
        self._shared: OrderedDict[Key, int] = OrderedDict()
        self._moved: OrderedDict[Key, int] = OrderedDict()  # their number is 0
        self._pinned: dict[BackendSlots, OrderedDict[Key, int]] = {backend: OrderedDict() for backend in backends}
        self._line_of: dict[Key, OrderedDict[Key, int]] = {}
        self._arrivals = 0

    def add(self, key: Key, pinned: BackendSlots | None) -> None:
        """A key waits from now on, for a slot of the backend that it is `pinned` to; None: of any."""
        self._arrivals += 1
        self._line_of[key] = line = self._shared if pinned is None else self._pinned[pinned]
        line[key] = self._arrivals

    def add_moved(self, key: Key) -> None:
        """A key that had a slot waits for one anywhere, behind others that did."""
        self._line_of[key] = self._moved
        self._moved[key] = 0

    def remove(self, key: Key) -> None:
        """A key waits no longer. Raises KeyError if it did not."""
        del self._line_of.pop(key)[key]

    def take(self, backend: BackendSlots, usable: bool) -> Key | None:
        """
        The first key that may have a slot of this backend, which waits no longer; None if there is none.

        `usable`: it may be one that is not pinned.
        """
        lines = [self._pinned[backend]]
        if usable:
            lines += self._moved, self._shared
        line = min(filter(None, lines), key=lambda each: next(iter(each.values())), default=None)  # the first to come
        if line is None:
            return None
        key, _ = line.popitem(last=False)
        del self._line_of[key]
        return key

    def pinned_to(self, backend: BackendSlots) -> list[Key]:
        """The keys that wait for this backend alone, first come first."""
        return list(self._pinned[backend])

    def in_order(self) -> list[Key]:
        """All keys: those that were moved, then the others, first come first."""
        return [*self._moved, *(key for key in self._line_of if key not in self._moved)]
