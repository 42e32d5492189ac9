"""
Reading and writing Twisted's socket transports with fewer steps, and asking them what Twisted does not tell.

A stock `write` queues the data and asks the reactor to say when the socket has room: two system calls and three Python
frames before the `send`. The socket has room nearly always, so `writer` sends at once when nothing waits before, and
leaves the rest to Twisted: its buffer, its producers and its errors stay what they are.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet import tcp
from twisted.internet.abstract import FileDescriptor
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableDescriptor, ISSLTransport, ITCPTransport
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.python.failure import Failure

from vespa.transport.tls_transport import TLSTransport

Write = Callable[["bytes | memoryview"], None]

READ_BYTES = 65536
# What the kernel knows of a peer that has closed or shut down its side, also while nobody reads. Not on every system.
_GONE = getattr(select, "POLLRDHUP", 0)


def is_plain(transport: object) -> bool:
    """Whether what is written to this transport goes as it is to the socket of a `tcp.Connection` (unix ones too)."""
    return isinstance(transport, tcp.Connection) and not transport.TLS


def writer(transport: Any) -> Write:
    """
    A function that does what `transport.write` does, sooner where that can be; it also takes a memoryview.

    The order of the bytes is kept, also between this and `transport.write`; a producer is paused when Twisted's buffer
    fills; an error of the socket reaches the protocol as connectionLost, later. Ask for it when the transport is
    connected, and again if TLS is started on it.
    """
    if isinstance(transport, TLSTransport):
        return transport.write_now
    if is_plain(transport):
        return _write_now(transport)
    write = transport.write
    return lambda data: write(bytes(data))


def _write_now(transport: Any) -> Write:
    send = transport.socket.send
    descriptors: Sequence[int] = getattr(transport, "_sendmsgQueue", ())  # on unix sockets: these go with the bytes

    def write(data: bytes | memoryview) -> None:
        if (
            transport._tempDataLen
            or transport.dataBuffer
            or transport.disconnecting
            or not transport.connected
            or (transport.producer is not None and not transport.streamingProducer)  # pulled on by the reactor only
            or descriptors
        ):
            transport.write(bytes(data))  # of bytes: the same object
            return
        try:
            sent = send(data)
        except OSError:  # no room; or an error, which the reactor meets again and tells the protocol
            sent = 0
        if sent < len(data):
            transport.write(bytes(memoryview(data)[sent:]) if sent else bytes(data))

    return write


def reader(transport: Any, data_received: Callable[[bytes], object]) -> None:
    """
    Have the reactor hand what arrives straight to `data_received`, until `release`.

    A no-op on a transport that is neither a plain socket's nor a `TLSTransport`: `dataReceived` of its protocol is
    called as ever. The end of the connection, and half of it, are told as Twisted does.
    """
    if isinstance(transport, TLSTransport):
        transport.data_received = data_received
    elif is_plain(transport):
        transport.doRead = _read(transport.socket.recv, data_received)


def _read(
    receive: Callable[[int], bytes], data_received: Callable[[bytes], object]
) -> Callable[[], ConnectionDone | ConnectionLost | None]:
    def read() -> ConnectionDone | ConnectionLost | None:
        try:
            data = receive(READ_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            return CONNECTION_LOST
        if not data:
            return CONNECTION_DONE
        data_received(data)
        return None

    return read


def release(transport: Any) -> None:
    """
    Undo `reader`: the protocol's own `dataReceived` is called again.

    A protocol that has used `reader` calls this in connectionLost, so that it and its transport are freed at once and
    not at the next collection.
    """
    if isinstance(transport, TLSTransport):
        transport.data_received = None
    elif isinstance(transport, tcp.Connection) and not transport._aborting:  # abortConnection put its own there
        transport.__dict__.pop("doRead", None)


def set_no_delay(transport: Any) -> None:
    """Send small writes at once, where this is TCP."""
    if ITCPTransport.providedBy(transport):
        try:
            transport.setTcpNoDelay(True)
        except OSError:  # macOS refuses it once the peer has reset the connection, of which the reactor is to tell
            pass


def hung_up(transport: object) -> bool:
    """
    Whether the peer has closed, reset or shut down its side, which nobody is told while reading is paused.

    A peer that only has no more to say (half-close) looks the same. False where that is not known: on a transport that
    is no socket's, and, outside of Linux, behind bytes that came before the end and were not read.
    """
    if not isinstance(transport, tcp.Connection):
        return False
    fd = transport.fileno()
    if fd == -1:
        return bool(transport.disconnected)
    if not _GONE:
        return _ended(transport.socket)
    poll = select.poll()
    poll.register(fd, _GONE)
    return bool(poll.poll(0))


def _ended(sock: socket.socket) -> bool:
    try:
        return not sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True


def reset(transport: object) -> bool:
    """
    Whether the peer has answered what was last sent with a reset, though reading only met the end; forgotten once told.

    A peer whose socket was closed before the bytes came says both, and the end is what a read meets first. False once
    the transport has closed its own socket.
    """
    if not isinstance(transport, tcp.Connection) or transport.disconnected:
        return False
    try:
        return transport.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0
    except OSError:
        return False


def buffered(transport: object) -> int:
    """How many bytes wait in Twisted's buffer for room in the socket; 0 where that is not known."""
    if not isinstance(transport, FileDescriptor):
        return 0
    return len(transport.dataBuffer) - transport.offset + transport._tempDataLen


def hides_resets(transport: object) -> bool:
    """Whether this is Twisted's own TLS, to which a peer's end without close_notify and a reset are the same."""
    return bool(ISSLTransport.providedBy(transport)) and not isinstance(transport, TLSTransport)


def half_closes(transport: object) -> bool:
    """Whether one direction can be ended alone."""
    if hides_resets(transport):
        return False  # it passes that on to the socket below, past what it has not sent yet
    return bool(IHalfCloseableDescriptor.providedBy(transport))


def close_now(transport: Any) -> None:
    """
    Close a connection that was just made, and free its descriptor within this call; TLS ends without a word.

    Only for one that no event can have come for in this turn of the reactor.
    """
    if isinstance(transport, tcp.Connection):
        transport.connectionLost(Failure(ConnectionAborted() if transport.TLS else ConnectionDone()))
    else:
        transport.loseConnection()


PROBES = 3
"""Probes in a row that a peer may leave unanswered."""


def probe(transport: Any, seconds: int, *, unacknowledged: bool = True) -> None:
    """
    Have the kernel ask a silent peer now and then whether it is still there, where this is TCP and the system can.

    A peer that has vanished without a word, with its machine or the way there, is noticed `seconds` after the last that
    was heard of it, and as long again for each of `PROBES`: the connection is lost then. With `unacknowledged` so is
    one on which the peer has not taken what was sent for as long: not right for a peer that may pause.
    """
    sock = getattr(transport, "socket", None) or getattr(getattr(transport, "transport", None), "socket", None)
    if not isinstance(sock, socket.socket) or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    # The last is for bytes of ours that are not acknowledged: while there are any, the kernel does not probe.
    options = [
        ("TCP_KEEPIDLE", seconds),
        ("TCP_KEEPALIVE", seconds),  # what macOS calls it
        ("TCP_KEEPINTVL", seconds),
        ("TCP_KEEPCNT", PROBES),
        ("TCP_USER_TIMEOUT", seconds * (PROBES + 1) * 1000),
    ]
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in options if unacknowledged else options[:-1]:
            if hasattr(socket, name):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    except OSError:
        pass  # the peer has gone just now, which the reactor will tell
