"""
What HTTP asks of a transport: to write and read with few steps, and what Twisted does not tell of it.

Each function takes any Twisted transport. Our own (`socket_transport`, `tls_transport`) do it faster; for all others it
is done in `stock`, with public names only. So which of the two a connection takes is chosen where it is made, in
`listen` and `origin`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vespa.transport import stock
from vespa.transport.socket_transport import DirectTransport, SocketTransport
from vespa.transport.stock import hung_up, probe, reset

__all__ = [
    "Write",
    "buffered",
    "close_now",
    "half_closes",
    "hides_resets",
    "hung_up",
    "is_plain",
    "probe",
    "reader",
    "release",
    "reset",
    "set_no_delay",
    "writer",
]

Write = Callable[["bytes | memoryview"], None]


def is_plain(transport: object) -> bool:
    """Whether this is our own transport of a socket, to which what is written goes as it is (unix ones too)."""
    return isinstance(transport, SocketTransport)


def writer(transport: Any) -> Write:
    """
    A function that does what `transport.write` does, sooner where that can be; it also takes a memoryview.

    The order of the bytes is kept, also between this and `transport.write`; a producer is paused when Twisted's buffer
    fills; an error of the socket reaches the protocol as connectionLost, later. Ask for it when the transport is
    connected.
    """
    return transport.write_now if isinstance(transport, DirectTransport) else stock.writer(transport)


def reader(transport: Any, data_received: Callable[[bytes], object]) -> None:
    """
    Have the reactor hand what arrives straight to `data_received`, until `release`.

    A no-op on a transport that is none of ours: `dataReceived` of its protocol is called as ever. The end of the
    connection, and half of it, are told as Twisted does.
    """
    if isinstance(transport, DirectTransport):
        transport.read_to(data_received)


def release(transport: Any) -> None:
    """
    Undo `reader`: the protocol's own `dataReceived` is called again.

    A protocol that has used `reader` calls this in connectionLost, so that it and its transport are freed at once and
    not at the next collection.
    """
    if isinstance(transport, DirectTransport):
        transport.read_to_protocol()


def set_no_delay(transport: Any) -> None:
    """Send small writes at once, where this is TCP."""
    if not (isinstance(transport, DirectTransport) and transport.no_delay):
        stock.set_no_delay(transport)


def buffered(transport: object) -> int:
    """
    How many bytes wait in Twisted's buffer for room in the socket; 0 where that is not known.

    On Twisted's own transports it is only sure whether there are any.
    """
    if isinstance(transport, DirectTransport):
        return len(transport.dataBuffer) - transport.offset + transport._tempDataLen
    return stock.buffered(transport)


def hides_resets(transport: object) -> bool:
    """Whether this is Twisted's own TLS, to which a peer's end without close_notify and a reset are the same."""
    return not isinstance(transport, DirectTransport) and stock.hides_resets(transport)


def half_closes(transport: object) -> bool:
    """Whether one direction can be ended alone."""
    return isinstance(transport, DirectTransport) or stock.half_closes(transport)


def close_now(transport: Any) -> None:
    """
    Close a connection that was just made, and free its descriptor within this call; TLS ends without a word.

    Only for one that no event can have come for in this turn of the reactor. Twisted's own are closed a turn later.
    """
    if isinstance(transport, DirectTransport):
        transport.close_now()
    else:
        transport.loseConnection()
