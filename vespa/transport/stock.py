"""
The functions of `sockets` with public names of Twisted only, for every transport that is not our own.

With VESPA_TRANSPORT=stock these are all transports. Otherwise some remain: TLS to a server known by its name,
descriptors from systemd, transports without a socket.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from typing import Any

from twisted.internet import tcp
from twisted.internet.abstract import FileDescriptor
from twisted.internet.interfaces import IHalfCloseableDescriptor, ISSLTransport, ITCPTransport

# The kernel's event for a peer that has closed or shut down its side, also while nothing is read. Not on every system.
_GONE = getattr(select, "POLLRDHUP", 0)


def writer(transport: Any) -> Callable[[bytes | memoryview], None]:
    """The transport's own `write`, which also takes a memoryview."""
    write = transport.write
    return lambda data: write(bytes(data))  # bytes(data) returns the same object if data is bytes


def buffered(transport: object) -> int:
    """Whether data waits for room in the socket: the number of bytes that certainly wait, at least 1."""
    if not isinstance(transport, FileDescriptor) or not transport.connected:
        return 0
    # Data written in this turn has no public name. But if there is any, the reactor watches for room in the socket.
    return len(transport.dataBuffer) - transport.offset or int(transport in transport.reactor.getWriters())


def set_no_delay(transport: Any) -> None:
    """Send small writes at once, if this is TCP."""
    if ITCPTransport.providedBy(transport):
        try:
            transport.setTcpNoDelay(True)
        except OSError:  # macOS refuses it after a reset by the peer, which the reactor will report
            pass


def hung_up(transport: object) -> bool:
    """
    Whether the peer has closed, reset or shut down its side, which is not reported while reading is paused.

    A half-close looks the same. False if unknown: for a transport without a socket, and, outside of Linux, if unread
    bytes came before the end.
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
    Whether the peer has answered the last sent bytes with a reset, although reading only met the end. Reported once.

    A peer whose socket was closed before the bytes came sends both, and reading meets the end first. False after
    the transport has closed its own socket.
    """
    if not isinstance(transport, tcp.Connection) or transport.disconnected:
        return False
    try:
        return transport.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0
    except OSError:
        return False


def hides_resets(transport: object) -> bool:
    """Whether this is Twisted's own TLS, which reports a reset like a close without close_notify."""
    return bool(ISSLTransport.providedBy(transport))


def half_closes(transport: object) -> bool:
    """Whether one direction can be closed alone."""
    if hides_resets(transport):
        return False  # it closes the socket below, before its own data is sent
    return bool(IHalfCloseableDescriptor.providedBy(transport))


PROBES = 3  # the number of probes in a row that a peer may leave unanswered


def probe(transport: Any, seconds: int, *, unacknowledged: bool = True) -> None:
    """
    Let the kernel probe a silent peer, if this is TCP and the system can.

    A peer may disappear silently, with its machine or its network. The connection is lost `seconds` after the last
    sign of the peer, plus as long again for each of `PROBES`. With `unacknowledged` it is also lost if the peer has not
    acknowledged sent bytes for that long, which is wrong for a peer that may pause.
    """
    sock = getattr(transport, "socket", None) or getattr(getattr(transport, "transport", None), "socket", None)
    if not isinstance(sock, socket.socket) or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    # The last is for bytes that are not acknowledged: while there are any, the kernel does not probe.
    options = [
        ("TCP_KEEPIDLE", seconds),
        ("TCP_KEEPALIVE", seconds),  # the name on macOS
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
        pass  # the peer has just closed the connection, which the reactor will report
