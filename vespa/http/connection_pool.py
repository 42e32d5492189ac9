"""Connections to one server, kept open between requests."""

from __future__ import annotations

import errno
import math
from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from operator import attrgetter
from typing import Any, Final

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.error import (
    ConnectError,
    ConnectingCancelledError,
    ConnectionRefusedError,
    TimeoutError,
    UserError,
)
from twisted.internet.interfaces import IAddress, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from vespa.http.client_connection import ClientConnection, UpstreamError
from vespa.http.coarse_timer import CoarseTimer
from vespa.http.idle_lifetime import IdleLifetime
from vespa.protocol.heads import FIELDS_MAX
from vespa.transport.tls_connect import BadCertificate

_idle_since: Final = attrgetter("idle_since")


@frozen(kw_only=True)
class PoolLimits:
    """
    Bounds towards one server; sizes in bytes, times in seconds.

    `connections` 0: no cap. `idle_seconds` is the longest that an idle connection is kept, if the server does not close
    it sooner; 0: a connection serves one request. `probe_seconds`: how soon the kernel
    asks a silent server whether it is still there; 0: never.
    """

    head_bytes: int = 65536
    head_fields: int = FIELDS_MAX
    idle_seconds: float = 2.0
    connections: int = 0
    probe_seconds: int = 0


class _Connections(Factory):
    """Makes the connections of a pool."""

    noisy = False

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def buildProtocol(self, addr: IAddress | None) -> ClientConnection:
        return ClientConnection(self._pool)


class Pool:
    """
    Keep-alive connections to one endpoint.

    Idle ones are used again, newest first, but not those that the server has closed, nor those of an age at which it is
    known to close them (`IdleLifetime`). They are closed here shortly before that, or after `idle_seconds`.

    `on_trouble` is told of each connection that could not be made, or broke under a request: the server may be gone.
    """

    on_trouble: Callable[[UpstreamError], None] | None = None
    make_room: Callable[[], None] | None = None
    """Called before each new connection: where pools share descriptors, another's idle one gives way."""

    def __init__(
        self,
        endpoint: IStreamClientEndpoint,
        clock: IReactorTime,
        limits: PoolLimits | None = None,
        *,
        name: str = "backend",
    ) -> None:
        """`name` is what errors call the server."""
        self.name = name
        self.limits = limits or PoolLimits()
        self.clock = clock
        self.idle_lifetime = IdleLifetime(self.limits.idle_seconds)
        self._endpoint = endpoint
        self._factory = _Connections(self)
        self._timer = CoarseTimer(clock)
        self._idle: list[ClientConnection] = []
        self._open: set[ClientConnection] = set()
        self._connecting = 0
        self._queue: deque[Deferred[ClientConnection]] = deque()
        self._closed = False
        self._serving = False

    @property
    def size(self) -> int:
        """Connections open or being opened."""
        return len(self._open) + self._connecting

    @property
    def full(self) -> bool:
        """Whether who asks for a new connection has to wait for one of another's."""
        return 0 < self.limits.connections <= self.size

    @property
    def idle(self) -> int:
        """Connections open and free."""
        return len(self._idle)

    @property
    def idle_longest(self) -> float:
        """Since when the connection that is idle the longest is; infinite where none is."""
        return self._idle[0].idle_since if self._idle else math.inf

    def close_one(self) -> None:
        """Close the connection that is idle the longest, if there is one."""
        if self._idle:
            self._idle.pop(0).discard()

    def take(self) -> ClientConnection | None:
        """A free connection, if there is one that can be used again."""
        idle = self._idle
        if not idle:
            return None
        now = self.clock.seconds()
        idle_lifetime = self.idle_lifetime
        while idle:
            at = -1
            if idle_lifetime.rest:
                at = bisect_right(idle, now - idle_lifetime.rest, key=_idle_since) - 1
                if at < 0:
                    return None
            connection = idle.pop(at)
            age = now - connection.idle_since
            if age >= idle_lifetime.lasts:
                connection.discard()
            elif connection.stale():
                idle_lifetime.closed(age, now)
                connection.discard()
            else:
                connection.reused = True
                return connection
        return None

    def connect(self) -> Deferred[ClientConnection]:
        """
        A new connection, or under a cap the next that comes free.

        Fires with it, or fails with `UpstreamError`; may be cancelled.
        """
        cap = self.limits.connections
        if cap and self.size >= cap:
            waiting: Deferred[ClientConnection] = Deferred(self._leave_queue)
            self._queue.append(waiting)
            self.close_one()  # one that `take` did not give: a fresh one takes its place
            return waiting
        return self._open_one()

    def _open_one(self) -> Deferred[ClientConnection]:
        if self.make_room is not None:
            self.make_room()
        self._connecting += 1
        connecting: Deferred[Any] = maybeDeferred(self._endpoint.connect, self._factory)

        def connected(connection: ClientConnection) -> ClientConnection:
            self._connecting -= 1
            return connection

        def failed(failure: Failure) -> Failure:
            self._connecting -= 1
            self._serve_queue()
            if failure.check(ConnectingCancelledError, CancelledError):
                return failure
            text = failure.getErrorMessage()
            code = f"{self.name}_timeout" if failure.check(TimeoutError) else f"{self.name}_unreachable"
            if failure.check(BadCertificate):
                code = "bad_certificate"
            if not failure.check(ConnectError, UserError) and not isinstance(failure.value, OSError):
                text = f"{failure.type.__name__}: {text}" if failure.type else text
            refused = _nobody_listens(failure.value)
            error = UpstreamError(code, f"could not connect: {text}", silent=True, refused=refused)
            error.__cause__ = failure.value
            self.trouble(error)
            return Failure(error)

        return connecting.addCallbacks(connected, failed)

    def _leave_queue(self, waiting: Deferred[ClientConnection]) -> None:
        if waiting in self._queue:
            self._queue.remove(waiting)

    def _open_for(self, waiting: Deferred[ClientConnection]) -> None:
        """Open a connection for one that waited under the cap, and may have given up meanwhile."""

        def connected(connection: ClientConnection) -> None:
            if waiting.called:
                self.put(connection)
            else:
                waiting.callback(connection)

        self._open_one().addCallbacks(connected, lambda failure: None if waiting.called else waiting.errback(failure))

    def opened(self, connection: ClientConnection) -> None:
        """A connection is made."""
        self._open.add(connection)

    def put(self, connection: ClientConnection) -> None:
        """A connection's exchange is over and it may carry another."""
        idle_lifetime = self.idle_lifetime
        if self._closed or not idle_lifetime.lasts > 0:
            connection.discard()
            return
        if self._queue:
            if idle_lifetime.rest or connection.stale():
                connection.discard()  # those that wait get fresh ones
                return
            connection.reused = True
            connection.idle_since = self.clock.seconds()
            self._queue.popleft().callback(connection)
            return
        connection.idle_since = self.clock.seconds()
        self._idle.append(connection)
        self._timer.add(self)

    def closed_idle(self, connection: ClientConnection) -> None:
        """An idle connection was closed by the server."""
        if connection in self._idle:
            self._idle.remove(connection)
            now = self.clock.seconds()
            self.idle_lifetime.closed(now - connection.idle_since, now)

    def closed_unseen(self, connection: ClientConnection) -> None:
        """A connection that was taken for a good one had been closed by the server when its request came there."""
        now = self.clock.seconds()
        self.idle_lifetime.closed(now - connection.idle_since, now)

    def trouble(self, error: UpstreamError) -> None:
        """A request met a connection that could not be made, or broke."""
        if self.on_trouble is not None:
            self.on_trouble(error)

    def forget(self, connection: ClientConnection) -> None:
        """An idle connection is over."""
        if connection in self._idle:
            self._idle.remove(connection)

    def gone(self, connection: ClientConnection) -> None:
        """A connection is over."""
        self._open.discard(connection)
        self.forget(connection)
        if not self._idle:
            self._timer.discard(self)
        self._serve_queue()

    def _serve_queue(self) -> None:
        """Open connections for those that wait, as far as the cap allows."""
        if self._serving:
            return  # an attempt that failed on the spot: the loop below goes on
        self._serving = True
        cap = self.limits.connections
        while self._queue and (not cap or self.size < cap) and not self._closed:
            self._open_for(self._queue.popleft())
        self._serving = False

    def tick(self, now: float) -> None:
        """Close what was idle for too long; the oldest stand first."""
        self.idle_lifetime.forget(now)
        limit = now - self.idle_lifetime.lasts
        while self._idle and self._idle[0].idle_since <= limit:
            self._idle.pop(0).discard()
        if not self._idle:
            # Not in `take`: a pool that runs empty with every request would set its clock anew each time.
            self._timer.discard(self)

    def close(self) -> None:
        """Close what is free now, and the others when their exchanges end."""
        self._closed = True
        self._timer.discard(self)
        while self._idle:
            self._idle.pop().discard()


def _nobody_listens(error: BaseException | None) -> bool:
    """Whether a connection failed since nobody listens: refused, or a unix socket whose file is not there."""
    return isinstance(error, ConnectionRefusedError) or getattr(error, "osError", None) == errno.ENOENT
