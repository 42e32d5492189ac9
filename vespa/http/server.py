"""The server: the state that its connections share."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from email.utils import formatdate
from itertools import islice
from typing import Any, Final

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress, IReactorTime, ISSLTransport
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger

from vespa.http.coarse_timer import CoarseTimer
from vespa.http.held_bytes import HeldBytes
from vespa.http.interfaces import RequestHandler
from vespa.http.limits import Limits
from vespa.http.server_connection import ServerConnection
from vespa.protocol.refusal import Refusal
from vespa.protocol.request_head import RequestHead
from vespa.protocol.status_lines import status_line
from vespa.transport.sockets import close_now, writer

Application = Callable[[ServerConnection, RequestHead], RequestHandler]
"""Handles a request when its head has come. May raise `Refusal`, which becomes the response."""


_TOO_MANY: Final = Refusal(
    503, "too_many_connections", "the server has reached its limit of connections", retry_after=1
)


def _full_answer() -> tuple[bytes, bytes]:
    body = _TOO_MANY.body()
    lines = [b"%b: %b\r\n" % line for line in _TOO_MANY.header_list()]
    tail = b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
    return b"".join([status_line(503), *lines]), tail + body


_FULL: Final = _full_answer()


EVICTIONS: Final = 16  # the number of connections that may be closing to make room, in one turn of the reactor
CANDIDATES: Final = 256  # the number of idle connections that one search finds
SEARCH_SECONDS: Final = 1e-4
"""The time between two searches, for each connection. Checking one takes less than a hundredth of it."""
LOG_AGAIN_SECONDS: Final = 30.0


class _Full(Protocol):
    """Answers 503 and closes: the limit of connections is reached."""

    def __init__(self, lines: bytes) -> None:
        """`lines` are the field lines that are its own, each with its line end."""
        self._lines = lines

    def connectionMade(self) -> None:
        transport: Any = self.transport
        if not ISSLTransport.providedBy(transport):  # with TLS a response would have to wait for the handshake
            writer(transport)(self._lines.join(_FULL))
        close_now(transport)


class Server(Factory):
    """Serves an application to HTTP/1.1 connections."""

    noisy = False
    on_refused: Callable[[str, RequestHead | None, Refusal], bytes] | None = None
    """Called with the client's address for each request that is refused before it has a handler. See `refused`."""
    _log = Logger()

    def __init__(self, application: Application, clock: IReactorTime, limits: Limits | None = None) -> None:
        self.application = application
        self.limits = limits or Limits()
        self.clock = clock
        self.timer = CoarseTimer(clock)
        self.connections: set[ServerConnection] = set()
        self.held = HeldBytes(self.limits.held_bytes, self.limits.unverified_bytes)
        self.draining = False
        self.addresses: dict[str, int] = {}  # the number of connections from each
        self._idle: deque[ServerConnection] = deque()  # idle at the last search
        self._leaving: set[ServerConnection] = set()
        self._searched_at = -1.0
        self._logged_at = -LOG_AGAIN_SECONDS
        self._drained: Deferred[None] | None = None
        self._date_at = -1
        self._date = b""

    def date(self) -> bytes:
        """The Date line of a response that begins now. It is made once a second."""
        now = int(self.clock.seconds())
        if now != self._date_at:
            self._date_at = now
            self._date = b"Date: %b\r\n" % formatdate(now, usegmt=True).encode("ascii")
        return self._date

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        """A connection, or a short response if a limit is reached and no connection is idle."""
        limits = self.limits
        host: str = getattr(addr, "host", "")
        here = self.addresses.get(host, 0)
        if 0 < limits.connections_per_address <= here:
            return self._full(host)
        if 0 < limits.connections <= len(self.connections) and not self._make_room():
            return self._full(host)
        connection = ServerConnection(self, host)
        # Counted here, not in connectionMade, so that nothing can come between.
        self.connections.add(connection)
        self.addresses[host] = here + 1
        return connection

    def _full(self, host: str) -> Protocol:
        return _Full(self.refused(host, None, _TOO_MANY) + self.date())

    def _make_room(self) -> bool:
        """Close the connection that is idle the longest. Returns False if there is none, or if a search is too soon."""
        if len(self._leaving) >= EVICTIONS:
            return False
        if not self._idle:
            now = self.clock.seconds()
            if 0 <= now - self._searched_at < len(self.connections) * SEARCH_SECONDS:  # below 0 it was set back
                return False
            self._searched_at = now
            found = islice((connection for connection in self.connections if connection.expendable), CANDIDATES)
            self._idle = deque(sorted(found, key=lambda connection: connection.waits_since))
            self._log_full(now)
        while self._idle:
            connection = self._idle.popleft()
            if connection.expendable and connection not in self._leaving:
                self._leaving.add(connection)
                connection.give_way()
                return True
        return False

    def _log_full(self, now: float) -> None:
        if not 0 <= now - self._logged_at < LOG_AGAIN_SECONDS:
            self._logged_at = now
            message = "the limit of {most} connections is reached: idle ones are closed for new ones, or these get 503"
            self._log.warn(message, most=self.limits.connections)

    def refused(self, peer: str, head: RequestHead | None, refusal: Refusal) -> bytes:
        """A request was refused that had no handler; without a head if that is malformed. Returns field lines."""
        return self.on_refused(peer, head, refusal) if self.on_refused is not None else b""

    def closed(self, connection: ServerConnection) -> None:
        """A connection has ended."""
        self.connections.discard(connection)
        self._leaving.discard(connection)
        here = self.addresses.get(connection.peer, 1) - 1
        if here:
            self.addresses[connection.peer] = here
        else:
            self.addresses.pop(connection.peer, None)
        if self._drained is not None and not self.connections:
            drained, self._drained = self._drained, None
            drained.callback(None)

    def drain(self) -> Deferred[None]:
        """
        Close idle connections, let requests in flight end, and fire with None when no connection is left.

        To end the rest at once, cancel the Deferred or call `abort`.
        """
        self.draining = True
        for connection in list(self.connections):
            connection.drain()
        if not self.connections:
            return succeed(None)
        self._drained = Deferred(self._stop_waiting)
        return self._drained

    def _stop_waiting(self, _: object) -> None:
        self._drained = None

    def abort(self, refusal: Refusal | None = None) -> None:
        """
        Cut all connections. `refusal` is the reason that requests in flight get in the accounts.

        A handler may have last bytes for a response that has begun. They go out, if the client reads them in time.
        """
        for connection in list(self.connections):
            last = connection.hang_up(refusal) if connection.started else b""
            if last:
                connection.truncate(last)
            else:
                connection.cut(refusal)
