"""What can happen to a request, as a table: a pair that is not in it never happens."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType


class State(IntEnum):
    """Where a request stands. The last five are ends: nothing follows them."""

    RECEIVED = 0
    """Authenticated, not yet decided upon."""
    WAITING = 1
    """Admitted, in the queue for a slot."""
    CONNECTING = 2
    """Has its slot; the backend has not answered."""
    STREAMING = 3
    """The head of the backend's answer has come."""
    STREAMING_ERROR = 4
    """The head of the backend's answer has come, and its status is 4xx or 5xx."""
    REFUSED = 5
    SERVED = 6
    UNSERVED = 7
    """Complete, but no work was served: the answer that was passed on is the backend's 4xx or 5xx."""
    FAILED = 8
    CANCELLED = 9


class Event(IntEnum):
    """What happens to a request."""

    ADMIT = 0
    """It got a slot at once."""
    WAIT = 1
    """It was put into the queue."""
    REFUSE = 2
    """We said no before it was admitted."""
    GONE = 3
    """The client left."""
    SLOT = 4
    """A slot came free for it."""
    EXPIRE = 5
    """It waited too long in the queue."""
    HEAD = 6
    """The head of the backend's answer came."""
    ERROR_HEAD = 7
    """The head of the backend's answer came, and its status is 4xx or 5xx."""
    BREAK = 8
    """The backend failed: 502 or 504 before the head, an aborted connection after it."""
    END = 9
    """The answer was passed on whole."""


# The same members as names of this module: looking one up on its class costs more than the rest of a table's step.
RECEIVED, WAITING, CONNECTING, STREAMING, STREAMING_ERROR, REFUSED, SERVED, UNSERVED, FAILED, CANCELLED = State
ADMIT, WAIT, REFUSE, GONE, SLOT, EXPIRE, HEAD, ERROR_HEAD, BREAK, END = Event

TABLE: Mapping[State, Mapping[Event, State]] = MappingProxyType(
    {
        State.RECEIVED: MappingProxyType(
            {
                Event.ADMIT: State.CONNECTING,
                Event.WAIT: State.WAITING,
                Event.REFUSE: State.REFUSED,
                Event.GONE: State.CANCELLED,
            }
        ),
        State.WAITING: MappingProxyType(
            {Event.SLOT: State.CONNECTING, Event.EXPIRE: State.REFUSED, Event.GONE: State.CANCELLED}
        ),
        State.CONNECTING: MappingProxyType(
            {
                Event.HEAD: State.STREAMING,
                Event.ERROR_HEAD: State.STREAMING_ERROR,
                Event.BREAK: State.FAILED,
                Event.GONE: State.CANCELLED,
            }
        ),
        State.STREAMING: MappingProxyType(
            {Event.END: State.SERVED, Event.BREAK: State.FAILED, Event.GONE: State.CANCELLED}
        ),
        State.STREAMING_ERROR: MappingProxyType(
            {Event.END: State.UNSERVED, Event.BREAK: State.FAILED, Event.GONE: State.CANCELLED}
        ),
        State.REFUSED: MappingProxyType({}),
        State.SERVED: MappingProxyType({}),
        State.UNSERVED: MappingProxyType({}),
        State.FAILED: MappingProxyType({}),
        State.CANCELLED: MappingProxyType({}),
    }
)


def mermaid() -> str:
    """The table as a Mermaid state diagram, for the documentation."""
    lines = ["stateDiagram-v2", f"    [*] --> {State.RECEIVED.name}"]
    for state, row in TABLE.items():
        lines.extend(f"    {state.name} --> {target.name}: {event.name}" for event, target in row.items())
        if not row:
            lines.append(f"    {state.name} --> [*]")
    return "\n".join(lines) + "\n"
