"""What can happen to a request, as a table: a pair that is not in it never happens."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import Final


class State(IntEnum):
    """Where a request stands. The last five are ends: nothing follows them."""

    READING = 0
    """Not understood yet: nobody knows what it costs or who signed it, and it is in no account."""
    RECEIVED = 1
    """Authenticated, not yet decided upon."""
    WAITING = 2
    """Admitted, in the queue for a slot."""
    CONNECTING = 3
    """Has its slot; the backend has not responded."""
    STREAMING = 4
    """The head of the backend's response has come."""
    STREAMING_ERROR = 5
    """The head of the backend's response has come, and its status is 4xx or 5xx."""
    REFUSED = 6
    SERVED = 7
    UNSERVED = 8
    """Complete, but no work was served: the response that was passed on is the backend's 4xx or 5xx."""
    FAILED = 9
    CANCELLED = 10


class Event(IntEnum):
    """What happens to a request."""

    OPEN = 0
    """It was understood and authenticated: its account begins."""
    ADMIT = 1
    """It got a slot at once."""
    WAIT = 2
    """It was put into the queue."""
    REFUSE = 3
    """We said no before it was admitted."""
    HANG_UP = 4
    """The client left."""
    SLOT = 5
    """A slot came free for it."""
    EXPIRE = 6
    """It waited too long in the queue."""
    HEAD = 7
    """The head of the backend's response came."""
    ERROR_HEAD = 8
    """The head of the backend's response came, and its status is 4xx or 5xx."""
    BREAK = 9
    """The backend failed: 502 or 504 before the head, an aborted connection after it."""
    END = 10
    """The response was passed on whole."""


# The same members as names of this module: looking one up on its class costs more than the rest of a table's step.
READING, RECEIVED, WAITING, CONNECTING, STREAMING, STREAMING_ERROR, REFUSED, SERVED, UNSERVED, FAILED, CANCELLED = State
OPEN, ADMIT, WAIT, REFUSE, HANG_UP, SLOT, EXPIRE, HEAD, ERROR_HEAD, BREAK, END = Event

STEPS: Final[dict[State, dict[Event, State]]] = {
    READING: {OPEN: RECEIVED, REFUSE: REFUSED, HANG_UP: CANCELLED},
    RECEIVED: {ADMIT: CONNECTING, WAIT: WAITING, REFUSE: REFUSED, HANG_UP: CANCELLED},
    WAITING: {SLOT: CONNECTING, EXPIRE: REFUSED, HANG_UP: CANCELLED},
    CONNECTING: {HEAD: STREAMING, ERROR_HEAD: STREAMING_ERROR, BREAK: FAILED, HANG_UP: CANCELLED},
    STREAMING: {END: SERVED, BREAK: FAILED, HANG_UP: CANCELLED},
    STREAMING_ERROR: {END: UNSERVED, BREAK: FAILED, HANG_UP: CANCELLED},
    **{end: {} for end in (REFUSED, SERVED, UNSERVED, FAILED, CANCELLED)},
}
"""As `TABLE`, for the steps themselves: a plain dict is the quickest. Nobody changes it."""
TABLE: Final[Mapping[State, Mapping[Event, State]]] = MappingProxyType(
    {state: MappingProxyType(row) for state, row in STEPS.items()}
)

ENDS: Final = frozenset(state for state, row in TABLE.items() if not row)
"""The states that nothing follows."""

REFUSAL_EVENT: Final[Mapping[State, Event]] = MappingProxyType(
    {state: event for state, row in TABLE.items() for event in row if event in (REFUSE, EXPIRE, BREAK)}
)
"""By which event a request ends that gets an error of ours, in each state that is no end."""
