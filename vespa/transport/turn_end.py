"""
The end of the reactor's turn, when whole messages are written, one after the other.

A turn is one wait for events with all their effects. The responses to a burst of events then leave together, and the
kernel wakes each peer once. `LeanReactor` has a hook for the end of its turn. On other reactors writes happen at once.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

from twisted.logger import Logger

Call = tuple[Callable[[bytes], object], bytes]
"""A function that takes bytes, such as that of `sockets.writer`, and the bytes."""

_log = Logger()


class TurnEnd(Protocol):
    """
    Takes writes for the end of the turn: `append((write, data))`.

    `turn` is a number that changes each time all queued writes are done. Code that stores it with a write can check
    later whether that write may still be waiting: `stored == turn_end.turn`. If writes are not delayed, this is never
    true.
    """

    @property
    def turn(self) -> float: ...

    @property
    def append(self) -> Callable[[Call], object]: ...


class QueuedTurnEnd:
    """A reactor's queue: `append` is the method of a deque, and the reactor calls `flush`."""

    def __init__(self) -> None:
        self.turn: float = 0
        self.calls: deque[Call] = deque()
        """The queued writes. A reactor checks whether there are any; `flush` removes them."""
        self.append: Callable[[Call], object] = self.calls.append

    def flush(self) -> None:
        """
        Write all queued data, in order, including data that is added meanwhile.

        An exception of a write is logged, and the other writes follow.
        """
        calls = self.calls
        take = calls.popleft
        while calls:
            try:
                while calls:
                    write, data = take()
                    write(data)
            except Exception:
                _log.failure("a write at the end of the reactor's turn failed")
        self.turn += 1


class ImmediateTurnEnd:
    """Delays nothing."""

    turn: float = math.nan  # unequal to every number, including itself

    def append(self, call: Call) -> None:
        """Write at once."""
        write, data = call
        write(data)


IMMEDIATE: Final = ImmediateTurnEnd()  # the turn end of every reactor without a hook for it


def turn_end_of(reactor: Any) -> TurnEnd:
    """The reactor's own, or one that writes at once if the reactor (or a test's clock) has none."""
    own = getattr(reactor, "turn_end", None)
    return own if isinstance(own, QueuedTurnEnd) else IMMEDIATE
