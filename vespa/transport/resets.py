"""
What the kernel knows of a peer that closes a connection, and reading does not tell.

A request that meets the end of a kept connection may be sent again only if the server cannot have acted on it.
docs/http.md has the whole argument; the facts are these. A kernel that closes a socket with unread bytes answers with a
reset, as it does for bytes that come to a closed one (RFC 1122 4.2.2.13, RFC 9293 3.6.1). A FIN acknowledges all that
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
"""A reset that follows a FIN is looked for after so long, then after twice as long, and so on: 255 ms in all."""

_poll: Final = getattr(select, "poll", None)
_READABLE: Final = getattr(select, "POLLIN", 1) | getattr(select, "POLLRDHUP", 0)
_INT: Final = struct.Struct("i")


def _find_ioctl() -> Callable[[Any, int, bytes], bytes] | None:
    """SIOCOUTQ is Linux's own (tcp(7)); other systems give the same number another meaning, or none."""
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

    On an idle connection to a server each of them means that it is not to be used again. Where the socket is not known
    the function says no. It may be called until the transport is lost. Where the system has poll it is no function of
    Python's: it is called with each request.
    """
    sock = getattr(transport, "socket", None) or getattr(getattr(transport, "transport", None), "socket", None)
    if not isinstance(sock, socket.socket):
        return bool  # which makes False of nothing
    if _poll is None:  # Windows
        return lambda: bool(select.select((sock,), (), (), 0)[0])
    poll = _poll()
    poll.register(sock, _READABLE)
    return partial(poll.poll, 0)


def is_socket(transport: object) -> bool:
    """Whether the kernel can be asked about this connection."""
    return isinstance(transport, tcp.Connection) and not transport.disconnected


def unacknowledged(transport: object) -> int:
    """How many of the bytes written the peer's kernel has not acknowledged; 0 where that is not known."""
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
    Whether it is sure, on a connection that the peer has ended, that it did not read all that was sent.

    Either a reset came, or the end came while bytes were not acknowledged yet: the peer ended its side before it had
    them. A reset is told once.
    """
    return reset(transport) or unacknowledged(transport) > 0


class ResetWatch:
    """Waits, briefly, for the reset that follows a FIN; `decide` is called once with whether one came."""

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
        """Nobody wants to know any more."""
        if self._call.active():
            self._call.cancel()
