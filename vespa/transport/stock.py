"""
What `sockets` offers, on public names of Twisted's alone: for every transport that is none of our own.

With VESPA_TRANSPORT=stock all are Twisted's; without, some still are (TLS to a server known by its name, descriptors
from systemd, what is no socket).
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from typing import Any

from twisted.internet import tcp
from twisted.internet.abstract import FileDescriptor
from twisted.internet.interfaces import IHalfCloseableDescriptor, ISSLTransport, ITCPTransport

# What the kernel knows of a peer that has closed or shut down its side, also while nobody reads. Not on every system.
_GONE = getattr(select, "POLLRDHUP", 0)


def writer(transport: Any) -> Callable[[bytes | memoryview], None]:
    """The transport's own `write`, which takes a memoryview too."""
    write = transport.write
    return lambda data: write(bytes(data))  # of bytes: the same object


def buffered(transport: object) -> int:
    """Whether anything waits for room in the socket: as many bytes as are sure to, at least 1."""
    if not isinstance(transport, FileDescriptor) or not transport.connected:
        return 0
    # What was written in this turn has no public name: but there, the reactor is asked to say when there is room.
    return len(transport.dataBuffer) - transport.offset or int(transport in transport.reactor.getWriters())


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


def hides_resets(transport: object) -> bool:
    """Whether this is Twisted's own TLS, to which a peer's end without close_notify and a reset are the same."""
    return bool(ISSLTransport.providedBy(transport))


def half_closes(transport: object) -> bool:
    """Whether one direction can be ended alone."""
    if hides_resets(transport):
        return False  # it passes that on to the socket below, past what it has not sent yet
    return bool(IHalfCloseableDescriptor.providedBy(transport))


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
