"""The states that a service was in: when each began, and why."""

from __future__ import annotations

from collections import deque
from typing import Final

from attrs import define

KEPT: Final = 100
"""The number of changes that are kept, the newest."""
REASON_MAX: Final = 500
"""The maximum length of a reason, in characters."""


@define
class StateChange:
    """A state, the time at which it began (epoch seconds), and the last cause that was known while it lasted."""

    at: float
    state: str
    reason: str = ""


class StateChanges:
    """The newest changes of a state. It holds at most `KEPT` of them."""

    def __init__(self) -> None:
        self._changes: deque[StateChange] = deque(maxlen=KEPT)

    def enter(self, at: float, state: str, reason: str = "") -> None:
        """The state is `state` from `at` on. If it has not changed, only the reason is replaced."""
        if self._changes and self._changes[-1].state == state:
            self._changes[-1].reason = reason[:REASON_MAX]
        else:
            self._changes.append(StateChange(at, state, reason[:REASON_MAX]))

    def explain(self, reason: str) -> None:
        """The cause of the state is known now, or it is another one."""
        if self._changes:
            self._changes[-1].reason = reason[:REASON_MAX]

    @property
    def newest(self) -> StateChange | None:
        """The present state; None before the first."""
        return self._changes[-1] if self._changes else None

    def all(self) -> list[StateChange]:
        """The changes that are kept, the oldest first."""
        return list(self._changes)
