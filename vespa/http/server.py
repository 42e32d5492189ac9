"""The server: what its connections share."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from email.utils import formatdate
from itertools import islice
from typing import Any, Final

from attrs import frozen
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress, IReactorTime, ISSLTransport
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger

from vespa.http.coarse_timer import CoarseTimer
from vespa.http.held_bytes import HeldBytes
from vespa.http.server_connection import ServerConnection
from vespa.http.server_request import Receiver, ServerRequest, status_line
from vespa.protocol.heads import FIELDS_MAX
from vespa.protocol.refusal import Refusal
from vespa.transport.tcp import close_now, writer

Application = Callable[[ServerRequest], Receiver]
"""Takes a request when its head is in; what it returns gets the rest. May raise `Refusal`."""


def _full_answer() -> tuple[bytes, bytes]:
    refusal = Refusal(503, "too_many_connections", "this server is at its limit of connections", retry_after=1)
    body = refusal.body()
    lines = [b"%b: %b\r\n" % line for line in refusal.header_list()]
    tail = b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
    return b"".join([status_line(503), *lines]), tail + body


_FULL: Final = _full_answer()


@frozen(kw_only=True)
class Limits:
    """
    Bounds on what clients may do; sizes in bytes, times in seconds, 0 turns a bound off.

    `body_min_rate` is for bodies of requests that are not verified, `body_idle_seconds` for all others;
    `held_bytes` and `unverified_bytes` are for all connections together.
    `upgrades` are the protocols, in lower case, that a client may have offered to the server behind us.
    """

    head_bytes: int = 32768
    head_fields: int = FIELDS_MAX
    upgrades: frozenset[bytes] = frozenset((b"websocket",))
    head_seconds: float = 10.0
    body_min_rate: float = 128.0
    body_idle_seconds: float = 60.0
    write_stall_seconds: float = 60.0
    keepalive_seconds: float = 30.0
    pipeline_bytes: int = 65536
    held_bytes: int = 256 << 20
    unverified_bytes: int = 64 << 20
    connections: int = 10000
    connections_per_address: int = 0
    keepalive_probe_seconds: int = 60
    linger_bytes: int = 64 << 20
    linger_seconds: float = 5.0


EVICTIONS: Final = 16
"""Connections that may be on their way out to make room for others, in one turn of the reactor."""
CANDIDATES: Final = 256
"""Connections that one search for idle ones finds."""
SEARCH_SECONDS: Final = 1e-4
"""Time between two searches, for each connection there is: looking at one takes less than a hundredth of it."""
COMPLAINT_SECONDS: Final = 30.0


class _Full(Protocol):
    """Says that there is no room, and goes."""

    def __init__(self, date: bytes) -> None:
        self._date = date

    def connectionMade(self) -> None:
        transport: Any = self.transport
        if not ISSLTransport.providedBy(transport):  # there an answer would have to wait for a handshake
            writer(transport)(self._date.join(_FULL))
        close_now(transport)


class Server(Factory):
    """Serves an application to HTTP/1.1 connections."""

    noisy = False
    _log = Logger()

    def __init__(self, application: Application, clock: IReactorTime, limits: Limits | None = None) -> None:
        self.application = application
        self.limits = limits or Limits()
        self.clock = clock
        self.timer = CoarseTimer(clock)
        self.channels: set[ServerConnection] = set()
        self.held = HeldBytes(self.limits.held_bytes, self.limits.unverified_bytes)
        self.draining = False
        self._addresses: dict[str, int] = {}
        self._idle: deque[ServerConnection] = deque()  # that were idle when last looked for
        self._leaving: set[ServerConnection] = set()
        self._searched_at = -1.0
        self._complained_at = -COMPLAINT_SECONDS
        self._drained: Deferred[None] | None = None
        self._date_at = -1
        self._date = b""

    def date(self) -> bytes:
        """The Date line of an answer that begins now; made once a second."""
        now = int(self.clock.seconds())
        if now != self._date_at:
            self._date_at = now
            self._date = b"Date: %b\r\n" % formatdate(now, usegmt=True).encode("ascii")
        return self._date

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        """A channel, or a short answer when a cap is reached and no connection is idle."""
        limits = self.limits
        host: str = getattr(addr, "host", "")
        here = self._addresses.get(host, 0)
        if 0 < limits.connections_per_address <= here:
            return _Full(self.date())
        if 0 < limits.connections <= len(self.channels) and not self._make_room():
            return _Full(self.date())
        channel = ServerConnection(self, host)
        # Counted from here, not from connectionMade: nothing may slip in between.
        self.channels.add(channel)
        self._addresses[host] = here + 1
        return channel

    def _make_room(self) -> bool:
        """Close a connection that is idle, the longest idle first; False if there is none, or it is not to be known."""
        if len(self._leaving) >= EVICTIONS:
            return False
        if not self._idle:
            now = self.clock.seconds()
            if now - self._searched_at < len(self.channels) * SEARCH_SECONDS:
                return False
            self._searched_at = now
            found = islice((channel for channel in self.channels if channel.expendable), CANDIDATES)
            self._idle = deque(sorted(found, key=lambda channel: channel.waits_since))
            self._complain(now)
        while self._idle:
            channel = self._idle.popleft()
            if channel.expendable and channel not in self._leaving:
                self._leaving.add(channel)
                channel.give_way()
                return True
        return False

    def _complain(self, now: float) -> None:
        if now - self._complained_at >= COMPLAINT_SECONDS:
            self._complained_at = now
            message = "all {most} connections are taken: idle ones are closed for new ones, or these get 503"
            self._log.warn(message, most=self.limits.connections)

    def closed(self, channel: ServerConnection) -> None:
        """A channel's connection is over."""
        self.channels.discard(channel)
        self._leaving.discard(channel)
        here = self._addresses.get(channel.peer, 1) - 1
        if here:
            self._addresses[channel.peer] = here
        else:
            self._addresses.pop(channel.peer, None)
        if self._drained is not None and not self.channels:
            drained, self._drained = self._drained, None
            drained.callback(None)

    def drain(self) -> Deferred[None]:
        """
        Close what is idle, let what is in flight end, and fire with None when no connection is left.

        Cancel it, or call `abort`, to end the rest at once.
        """
        self.draining = True
        for channel in list(self.channels):
            channel.drain()
        if not self.channels:
            return succeed(None)
        self._drained = Deferred(self._stop_waiting)
        return self._drained

    def _stop_waiting(self, _: object) -> None:
        self._drained = None

    def abort(self) -> None:
        """Cut every connection."""
        for channel in list(self.channels):
            channel.cut()
