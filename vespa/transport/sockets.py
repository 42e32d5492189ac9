"""
The functions that HTTP needs from a transport: reading and writing with few steps, and information that Twisted does
not give.

Each function takes any Twisted transport. Our own (`socket_transport`, `tls_transport`) are faster. For all others
`stock` does the work, with public names only. So the choice between the two is made with the connection, in
`listen` and `origin`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vespa.transport import stock
from vespa.transport.socket_transport import DirectTransport, SocketTransport
from vespa.transport.stock import hung_up as hung_up
from vespa.transport.stock import probe as probe
from vespa.transport.stock import reset as reset

Write = Callable[["bytes | memoryview"], None]


def is_plain(transport: object) -> bool:
    """Whether this is our own transport of a socket (TCP or unix) that sends written bytes unchanged."""
    return isinstance(transport, SocketTransport)


def writer(transport: Any) -> Write:
    """
    A function like `transport.write` that sends sooner if possible. It also takes a memoryview.

    It keeps the order of the bytes, also relative to `transport.write`. A producer is paused when Twisted's buffer
    fills. An error of the socket reaches the protocol later, as connectionLost. Call this when the transport is
    connected.
    """
    return transport.write_now if isinstance(transport, DirectTransport) else stock.writer(transport)


def reader(transport: Any, data_received: Callable[[bytes], object]) -> None:
    """
    Let the reactor pass arriving bytes directly to `data_received`, until `release`.

    Does nothing on other transports: they call `dataReceived` of the protocol. Twisted reports the end of the
    connection, and of one half of it, as usual.
    """
    if isinstance(transport, DirectTransport):
        transport.read_to(data_received)


def release(transport: Any) -> None:
    """
    Undo `reader`: the transport calls the protocol's own `dataReceived` again.

    A protocol that has used `reader` calls this in connectionLost. Then both objects are freed at once, not at the next
    garbage collection.
    """
    if isinstance(transport, DirectTransport):
        transport.read_to_protocol()


def set_no_delay(transport: Any) -> None:
    """Send small writes at once, if this is TCP."""
    if not (isinstance(transport, DirectTransport) and transport.no_delay):
        stock.set_no_delay(transport)


def buffered(transport: object) -> int:
    """
    The number of bytes in Twisted's buffer that wait for room in the socket; 0 if unknown.

    On Twisted's own transports it only says reliably whether there are any.
    """
    if isinstance(transport, DirectTransport):
        return len(transport.dataBuffer) - transport.offset + transport._tempDataLen
    return stock.buffered(transport)


def hides_resets(transport: object) -> bool:
    """Whether this is Twisted's own TLS, which reports a reset like a close without close_notify."""
    return not isinstance(transport, DirectTransport) and stock.hides_resets(transport)


def half_closes(transport: object) -> bool:
    """Whether one direction can be closed alone."""
    return isinstance(transport, DirectTransport) or stock.half_closes(transport)


def close_now(transport: Any) -> None:
    """
    Close a connection that was just made, and free its descriptor within this call. TLS sends no close_notify.

    Only for a connection that can have no event in this turn of the reactor. Twisted's own transports close a turn
    later.
    """
    if isinstance(transport, DirectTransport):
        transport.close_now()
    else:
        transport.loseConnection()
