"""
What can happen on a connection, as two tables: a pair of state and event that is not in its table never happens.

A connection carries one request and its response at a time. `SERVER` is for the end that receives requests, `CLIENT`
for the end that sends them. The docs' diagrams are drawn from here.

The laws of a server's connection:

S1. A request begins only where the request before it and the response to that have ended.
S2. A response belongs to a request whose head has come. A head that is refused counts as one whose body is to come:
    where the next request would begin is not known, so the response is the last.
S3. A response may end before its request. Then the rest is read and dropped, if it is short and sure to come, and the
    connection goes on behind it; otherwise the response is the last.
S4. Behind the last response no request is read. Where the client is still sending, it is let read the response first.
S5. Protocols are switched in place of a response, and only where the request is complete: a client ends its message
    before it speaks another protocol (RFC 9110 7.8). Nothing leads back.
S6. A response that is truncated is the last, and its connection is aborted when what was written is out.
S7. A connection may be closed at any time, and nothing follows.

The laws of a client's connection:

C1. A request is sent only on a connection that is idle: no response is owed, and no byte of one has come.
C2. Any number of interim responses may come before the final one, and nothing of them changes the state.
C3. A connection is idle again when both messages have ended, and both ends let it go on. If the response ends before
    the request, or is the connection's last, or is followed by bytes, the connection is closed.
C4. Protocols are switched in place of a response. Nothing leads back.
C5. A connection may be closed at any time, and nothing follows.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import Final, TypeVar


class ServerState(IntEnum):
    """Where the connection of a client stands."""

    IDLE = 0
    """Neither a request nor a response is under way."""
    HEAD = 1
    """A part of a request's head has come."""
    BODY = 2
    """A request's head has come, its body is coming, the response has not ended."""
    RESPONDING = 3
    """The request is complete, the response is not."""
    DISCARDING = 4
    """The response is complete, a short rest of the request's body is awaited."""
    UPGRADED = 5
    """Both ends speak the protocol that they agreed on."""
    LINGERING = 6
    """The last response is out, the client may still be sending."""
    TRUNCATING = 7
    """To be aborted when what was written is out."""
    CLOSED = 8
    """Closed, or closing as soon as what was written is out."""


class ServerEvent(IntEnum):
    """What happens on the connection of a client."""

    HEAD_PART = 0
    """A read brought a part of a head, not its end."""
    REQUEST_HEAD = 1
    """A head came whose body follows, or which is refused."""
    REQUEST = 2
    """A head came, and with it the request is complete."""
    REQUEST_END = 3
    """The rest of the body came."""
    RESPONSE_END = 4
    """The response is complete, and the connection goes on."""
    RESPONSE_END_CLOSE = 5
    """The response is complete, and was the connection's last."""
    UPGRADE = 6
    """101 was sent."""
    TRUNCATE = 7
    """The response will not be complete, and the client can tell by nothing but an abort."""
    CLOSE = 8
    """The client left, or we close."""


class ClientState(IntEnum):
    """Where the connection to an upstream stands."""

    IDLE = 0
    """No request is under way."""
    AWAITING = 1
    """A request is out, or on its way; the final response's head has not come."""
    RECEIVING = 2
    """The response's head has come, its body is coming."""
    UPGRADED = 3
    """Both ends speak the protocol that they agreed on."""
    CLOSED = 4
    """Closed, or closing."""


class ClientEvent(IntEnum):
    """What happens on the connection to an upstream."""

    REQUEST = 0
    """A request is sent."""
    INTERIM = 1
    """A 1xx response came, other than 101."""
    RESPONSE = 2
    """A response came whole with its head, and the connection goes on."""
    RESPONSE_CLOSE = 3
    """A response came whole with its head, and the connection does not go on."""
    RESPONSE_HEAD = 4
    """A response's head came, and its body follows."""
    RESPONSE_END = 5
    """The body has ended, and the connection goes on."""
    RESPONSE_END_CLOSE = 6
    """The body has ended, and the connection does not go on."""
    UPGRADE = 7
    """101 came."""
    CLOSE = 8
    """The upstream left, or we close."""


AnyState = TypeVar("AnyState", bound=IntEnum)
AnyEvent = TypeVar("AnyEvent", bound=IntEnum)


def _frozen(steps: dict[AnyState, dict[AnyEvent, AnyState]]) -> Mapping[AnyState, Mapping[AnyEvent, AnyState]]:
    return MappingProxyType({state: MappingProxyType(row) for state, row in steps.items()})


_S, _SE, _C, _CE = ServerState, ServerEvent, ClientState, ClientEvent
_REQUEST_BEGINS: Final = {_SE.HEAD_PART: _S.HEAD, _SE.REQUEST_HEAD: _S.BODY, _SE.REQUEST: _S.RESPONDING}

SERVER: Final[Mapping[ServerState, Mapping[ServerEvent, ServerState]]] = _frozen(
    {
        _S.IDLE: {**_REQUEST_BEGINS, _SE.CLOSE: _S.CLOSED},
        _S.HEAD: {**_REQUEST_BEGINS, _SE.CLOSE: _S.CLOSED},
        _S.BODY: {
            _SE.REQUEST_END: _S.RESPONDING,
            _SE.RESPONSE_END: _S.DISCARDING,
            _SE.RESPONSE_END_CLOSE: _S.LINGERING,
            _SE.TRUNCATE: _S.TRUNCATING,
            _SE.CLOSE: _S.CLOSED,
        },
        _S.RESPONDING: {
            _SE.RESPONSE_END: _S.IDLE,
            _SE.RESPONSE_END_CLOSE: _S.CLOSED,
            _SE.UPGRADE: _S.UPGRADED,
            _SE.TRUNCATE: _S.TRUNCATING,
            _SE.CLOSE: _S.CLOSED,
        },
        _S.DISCARDING: {_SE.REQUEST_END: _S.IDLE, _SE.CLOSE: _S.CLOSED},
        _S.UPGRADED: {_SE.CLOSE: _S.CLOSED},
        _S.LINGERING: {_SE.CLOSE: _S.CLOSED},
        _S.TRUNCATING: {_SE.CLOSE: _S.CLOSED},
        _S.CLOSED: {},
    }
)

CLIENT: Final[Mapping[ClientState, Mapping[ClientEvent, ClientState]]] = _frozen(
    {
        _C.IDLE: {_CE.REQUEST: _C.AWAITING, _CE.CLOSE: _C.CLOSED},
        _C.AWAITING: {
            _CE.INTERIM: _C.AWAITING,
            _CE.RESPONSE: _C.IDLE,
            _CE.RESPONSE_CLOSE: _C.CLOSED,
            _CE.RESPONSE_HEAD: _C.RECEIVING,
            _CE.UPGRADE: _C.UPGRADED,
            _CE.CLOSE: _C.CLOSED,
        },
        _C.RECEIVING: {_CE.RESPONSE_END: _C.IDLE, _CE.RESPONSE_END_CLOSE: _C.CLOSED, _CE.CLOSE: _C.CLOSED},
        _C.UPGRADED: {_CE.CLOSE: _C.CLOSED},
        _C.CLOSED: {},
    }
)


def after(table: Mapping[AnyState, Mapping[AnyEvent, AnyState]], event: AnyEvent) -> dict[AnyState, AnyState]:
    """What follows each state by this event, as a plain dict; a state that is not in it knows no such event."""
    return {state: row[event] for state, row in table.items() if event in row}
