"""
The end of the reactor's turn: where whole messages are written, one after the other.

A turn is one wait for events with all that the events cause. What a burst of them causes then leaves together, and the
kernel wakes each peer once. `LeanReactor` offers its turn's end; on any other reactor everything is written at once.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

from twisted.logger import Logger

Call = tuple[Callable[[bytes], object], bytes]
"""A function that takes bytes, such as `sockets.writer` gives, and the bytes."""

_log = Logger()


class TurnEnd(Protocol):
    """
    Takes writes for the end of the turn: `append((write, data))`.

    `turn` is a number that changes each time all of them are out. Who remembers it with a write knows later whether
    that may still be waiting: `remembered == turn_end.turn`. Where writes are not put off they never compare equal.
    """

    @property
    def turn(self) -> float: ...

    @property
    def append(self) -> Callable[[Call], object]: ...


class QueuedTurnEnd:
    """A reactor's queue: `append` is a list's own, and the reactor calls `flush`."""

    def __init__(self) -> None:
        self.turn: float = 0
        self.calls: deque[Call] = deque()
        """What waits. A reactor looks whether it is empty; `flush` takes from it."""
        self.append: Callable[[Call], object] = self.calls.append

    def flush(self) -> None:
        """
        Write all that waits, in order, and what is added meanwhile.

        What a write raises is logged, and the others go on.
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
    """Puts nothing off."""

    turn: float = math.nan  # unequal to all, itself included

    def append(self, call: Call) -> None:
        """Write at once."""
        write, data = call
        write(data)


IMMEDIATE: Final = ImmediateTurnEnd()
"""That of every reactor that does not offer the end of its turn."""


def turn_end_of(reactor: Any) -> TurnEnd:
    """The reactor's own, or one that writes at once where the reactor (or a test's clock) does not offer any."""
    own = getattr(reactor, "turn_end", None)
    return own if isinstance(own, QueuedTurnEnd) else IMMEDIATE
