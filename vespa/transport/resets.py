"""
The kernel's knowledge of how a peer closes a connection, beyond the results of reading.

If a kept connection ends during a request, the request may be sent again only if the server cannot have acted on it.
docs/http.md has the whole argument. The facts: a kernel sends a reset if a socket with unread bytes is closed, and if
bytes arrive at a closed socket (RFC 1122 4.2.2.13, RFC 9293 3.6.1). A FIN acknowledges all bytes that
had arrived when it was sent.
"""

from __future__ import annotations

import select
import socket
import struct
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from twisted.internet import tcp

from vespa.transport.sockets import buffered, reset

RESET_CHECKS: Final = 8
RESET_CHECK_SECONDS: Final = 0.001
"""A check for a reset after a FIN comes after so long, the next after twice as long, and so on: 255 ms in all."""

_poll: Final = getattr(select, "poll", None)
_READABLE: Final = getattr(select, "POLLIN", 1) | getattr(select, "POLLRDHUP", 0)
_INT: Final = struct.Struct("i")


def _find_ioctl() -> Callable[[Any, int, bytes], bytes] | None:
    """SIOCOUTQ is Linux's own (tcp(7)). On other systems the same number has another meaning, or none."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        import fcntl
    except ImportError:
        return None
    return fcntl.ioctl


_ioctl: Final = _find_ioctl()
_SIOCOUTQ: Final = 0x5411


def pending(transport: Any) -> Callable[[], object]:
    """
    A function whose result is true if there is anything to read on this connection: bytes, its end or an error.

    In each of these cases an idle connection to a server must not be used again. For a transport without a socket
    the result is false. The function may be called until the transport is lost. On systems with poll it is not a Python
    function, because each request calls it.
    """
    sock = getattr(transport, "socket", None) or getattr(getattr(transport, "transport", None), "socket", None)
    if not isinstance(sock, socket.socket):
        return bool  # a function that returns False
    if _poll is None:  # Windows
        return lambda: bool(select.select((sock,), (), (), 0)[0])
    poll = _poll()
    poll.register(sock, _READABLE)
    return partial(poll.poll, 0)


def is_socket(transport: object) -> bool:
    """Whether the kernel has information about this connection."""
    return isinstance(transport, tcp.Connection) and not transport.disconnected


def unacknowledged(transport: object) -> int:
    """The number of written bytes that the peer's kernel has not acknowledged; 0 if unknown."""
    waiting = buffered(transport)
    if not isinstance(transport, tcp.Connection) or transport.disconnected or _ioctl is None:
        return waiting
    if transport.socket.family not in (socket.AF_INET, socket.AF_INET6):
        return waiting
    try:
        return waiting + int(_INT.unpack(_ioctl(transport.socket, _SIOCOUTQ, bytes(_INT.size)))[0])
    except OSError:
        return waiting


def refused_bytes(transport: object) -> bool:
    """
    On a connection that the peer has ended: whether it is certain that the peer did not read everything.

    Either a reset came, or the end came before all bytes were acknowledged. A reset is reported once.
    """
    return reset(transport) or unacknowledged(transport) > 0


class ResetWatch:
    """Waits briefly for the reset that may follow a FIN. Calls `decide` once with whether one came."""

    def __init__(self, clock: Any, transport: object, decide: Callable[[bool], None]) -> None:
        self._clock = clock
        self._transport = transport
        self._decide = decide
        self._checks = 0
        self._wait()

    def _wait(self) -> None:
        self._call = self._clock.callLater(RESET_CHECK_SECONDS * 2**self._checks, self._check)

    def _check(self) -> None:
        self._checks += 1
        if reset(self._transport):
            self._decide(True)
        elif self._checks >= RESET_CHECKS:
            self._decide(False)
        else:
            self._wait()

    def cancel(self) -> None:
        """Stop waiting, without a call of `decide`."""
        if self._call.active():
            self._call.cancel()
