"""
The states and events of connections, as two tables. A pair of state and event that is not in its table never happens.

A connection carries one request and its response at a time. `SERVER` is for the end that receives requests, `CLIENT`
for the end that sends them. The diagrams in docs/architecture.md are drawn from these tables.

The laws of a server's connection:

S1. A request begins only after the previous request and its response have ended.
S2. A response belongs to a request whose head has come. A refused head counts as a head whose body follows: the
    beginning of the next request is unknown, so the response is the last.
S3. A response may end before its request. If the rest of the request is short and has a known length, the server reads
    and drops it, and the connection continues. Otherwise the response is the last.
S4. No request is read after the last response. A client that is still sending gets time to read that response.
S5. A switch of protocols replaces a response, and happens only after the request is complete: a client ends its message
    before it speaks another protocol (RFC 9110 7.8). HTTP does not return.
S6. A truncated response is the last. The connection is aborted when the written bytes are sent.
S7. A connection may be closed at any time, and no event follows.

The laws of a client's connection:

C1. A request is sent only on an idle connection: no response is outstanding, and no byte of one has come.
C2. Any number of interim responses may come before the final one. They do not change the state.
C3. A connection is idle again when both messages have ended and both ends keep it open. If the response ends before
    the request, or is the connection's last, or if bytes follow it, the connection is closed.
C4. A switch of protocols replaces a response. HTTP does not return.
C5. A connection may be closed at any time, and no event follows.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import Final, TypeVar


class ServerState(IntEnum):
    """The state of a client's connection."""

    IDLE = 0  # neither a request nor a response is in progress
    HEAD = 1  # a part of a request's head has come
    BODY = 2  # a request's head has come, its body is coming, the response has not ended
    RESPONDING = 3  # the request is complete, the response is not
    DISCARDING = 4  # the response is complete, a short rest of the request's body is still to come
    UPGRADED = 5  # both ends speak the protocol that they agreed on
    LINGERING = 6  # the last response is sent, the client may still be sending
    TRUNCATING = 7  # the connection will be aborted when the written bytes are sent
    CLOSED = 8  # closed, or closing when the written bytes are sent


class ServerEvent(IntEnum):
    """An event on a client's connection."""

    HEAD_PART = 0  # a read brought a part of a head, but not its end
    REQUEST_HEAD = 1  # a head came, and its body follows or it is refused
    REQUEST = 2  # a whole request came
    REQUEST_END = 3  # the rest of the body came
    RESPONSE_END = 4  # the response is complete, and the connection stays open
    RESPONSE_END_CLOSE = 5  # the response is complete, and was the connection's last
    UPGRADE = 6  # 101 was sent
    TRUNCATE = 7  # the response stays incomplete, and only an abort shows this to the client
    CLOSE = 8  # the client or the server closes the connection


class ClientState(IntEnum):
    """The state of a connection to an upstream."""

    IDLE = 0  # no request is in progress
    AWAITING = 1  # a request is sent or being sent, the final response's head has not come
    RECEIVING = 2  # the response's head has come, its body is coming
    UPGRADED = 3  # both ends speak the protocol that they agreed on
    CLOSED = 4  # closed, or closing


class ClientEvent(IntEnum):
    """An event on a connection to an upstream."""

    REQUEST = 0  # a request is sent
    INTERIM = 1  # a 1xx response came, other than 101
    RESPONSE = 2  # a whole response came with its head, and the connection stays open
    RESPONSE_CLOSE = 3  # a whole response came with its head, and the connection does not stay open
    RESPONSE_HEAD = 4  # a response's head came, and its body follows
    RESPONSE_END = 5  # the body has ended, and the connection stays open
    RESPONSE_END_CLOSE = 6  # the body has ended, and the connection does not stay open
    UPGRADE = 7  # 101 came
    CLOSE = 8  # the upstream or the client closes the connection


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
    """The next state for each state that has this event, as a plain dict."""
    return {state: row[event] for state, row in table.items() if event in row}
