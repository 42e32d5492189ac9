"""Whose turn it is: what comes free at the gate goes to the next that waits there."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar

from vespa.accounting.admission import Gate


class Waits(Hashable, Protocol):
    """What may stand before a gate."""

    def slot(self) -> None:
        """The slot it waited for is its own."""


Passing = TypeVar("Passing", bound=Waits)


class Turns(Generic[Passing]):
    """A gate whose slots are handed on at once."""

    def __init__(self, gate: Gate[Passing]) -> None:
        self.gate = gate
        self._next: deque[Passing] = deque()
        self._serving = False

    def free(self, passing: Passing) -> None:
        """A request is over: its place in the queue, or its slot, goes to the next."""
        following = self.gate.release(passing)
        if following is None:
            self.gate.leave(passing)
            return
        self._next.append(following)
        if self._serving:
            return  # the one before failed on the spot: the loop below goes on
        self._serving = True
        try:
            while self._next:
                self._next.popleft().slot()
        finally:
            self._serving = False
