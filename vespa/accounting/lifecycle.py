"""The lifecycle of a request, as a table. A pair of state and event that is not in the table never happens."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import Final


class State(IntEnum):
    """The state of a request. The last five are final."""

    READING = 0  # not understood yet: its cost and its signature are unknown, and it is not counted
    RECEIVED = 1  # authenticated, not decided
    WAITING = 2  # admitted, in the queue for a slot
    CONNECTING = 3  # has its slot; the backend has not responded
    STREAMING = 4  # the head of the backend's response has come
    STREAMING_ERROR = 5  # the head of the backend's response has come, and its status is 4xx or 5xx
    REFUSED = 6
    SERVED = 7
    UNSERVED = 8  # complete, but no work was served: the backend's response was 4xx or 5xx, or its job had no result
    FAILED = 9
    CANCELLED = 10


class Event(IntEnum):
    """An event in the life of a request."""

    OPEN = 0  # the request was understood and authenticated: its account begins
    ADMIT = 1  # it got a slot at once
    WAIT = 2  # it was put into the queue
    REFUSE = 3  # Vespa refused it before it was admitted
    HANG_UP = 4  # the client closed the connection
    SLOT = 5  # it got a free slot
    EXPIRE = 6  # it waited too long in the queue
    HEAD = 7  # the head of the backend's response came
    ERROR_HEAD = 8  # the head of the backend's response came, and its status is 4xx or 5xx
    BREAK = 9  # the backend failed: 502 or 504 before the head, an aborted connection after it
    END = 10  # the whole response was passed on
    NO_RESULT = 11  # after its whole response, the backend ended the request's job without a result


# The same members as names of this module: looking one up on its class costs more than the rest of a step.
READING, RECEIVED, WAITING, CONNECTING, STREAMING, STREAMING_ERROR, REFUSED, SERVED, UNSERVED, FAILED, CANCELLED = State
OPEN, ADMIT, WAIT, REFUSE, HANG_UP, SLOT, EXPIRE, HEAD, ERROR_HEAD, BREAK, END, NO_RESULT = Event

STEPS: Final[dict[State, dict[Event, State]]] = {
    READING: {OPEN: RECEIVED, REFUSE: REFUSED, HANG_UP: CANCELLED},
    RECEIVED: {ADMIT: CONNECTING, WAIT: WAITING, REFUSE: REFUSED, HANG_UP: CANCELLED},
    WAITING: {SLOT: CONNECTING, EXPIRE: REFUSED, HANG_UP: CANCELLED},
    CONNECTING: {HEAD: STREAMING, ERROR_HEAD: STREAMING_ERROR, BREAK: FAILED, HANG_UP: CANCELLED},
    STREAMING: {END: SERVED, NO_RESULT: UNSERVED, BREAK: FAILED, HANG_UP: CANCELLED},
    STREAMING_ERROR: {END: UNSERVED, BREAK: FAILED, HANG_UP: CANCELLED},
    **{end: {} for end in (REFUSED, SERVED, UNSERVED, FAILED, CANCELLED)},
}
"""Like `TABLE`, for the steps themselves: a plain dict is the fastest. Nothing changes it."""
TABLE: Final[Mapping[State, Mapping[Event, State]]] = MappingProxyType(
    {state: MappingProxyType(row) for state, row in STEPS.items()}
)

ENDS: Final = frozenset(state for state, row in TABLE.items() if not row)  # the final states

REFUSAL_EVENT: Final[Mapping[State, Event]] = MappingProxyType(
    {state: event for state, row in TABLE.items() for event in row if event in (REFUSE, EXPIRE, BREAK)}
)
"""For each state that is not final, the event with which a request ends when Vespa refuses it."""
