"""Connections to one upstream, kept open between requests."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable
from operator import attrgetter
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.error import ConnectError, ConnectingCancelledError, TimeoutError, UserError
from twisted.internet.interfaces import IAddress, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from vespa.http.client_connection import ClientConnection
from vespa.http.coarse_timer import CoarseTimer
from vespa.http.idle_lifetime import IdleLifetime
from vespa.http.interfaces import ConnectionTaker, UpstreamError
from vespa.http.limits import PoolLimits
from vespa.http.pool_counts import PoolCounts
from vespa.transport.errors import BadCertificate, nobody_listens
from vespa.transport.turn_end import turn_end_of

_idle_since: Final = attrgetter("idle_since")


class _Connections(Factory):
    """Makes the connections of a pool."""

    noisy = False

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool

    def buildProtocol(self, addr: IAddress | None) -> ClientConnection:
        return ClientConnection(self._pool)


class ConnectionPool:
    """
    Keep-alive connections to one endpoint.

    The pool uses idle connections again, newest first, but not if the upstream has closed them, or usually closes them
    at their age (`IdleLifetime`). It closes them shortly before that age, or after `idle_seconds`.

    `on_trouble` is called for each connection that could not be made or that broke during a request, because the
    upstream may be gone.
    """

    on_trouble: Callable[[UpstreamError], None] | None = None
    connect_seconds = 0.0  # how long the connection took that was made last
    make_room: Callable[[], None] | None = None
    """Called before each new connection. If pools share descriptors, another pool closes an idle connection."""

    def __init__(
        self,
        endpoint: IStreamClientEndpoint,
        clock: IReactorTime,
        limits: PoolLimits | None = None,
        *,
        name: str = "backend",
        address: str = "",
        counts: PoolCounts | None = None,
    ) -> None:
        """`name` is the upstream's in errors; `address` tells it from others; pools may share their `counts`."""
        self.name = name
        self.address = address
        self.counts = counts or PoolCounts()
        self.limits = limits or PoolLimits()
        self.clock = clock
        self.turn_end = turn_end_of(clock)
        self.idle_lifetime = IdleLifetime(self.limits.idle_seconds)
        self._endpoint = endpoint
        self._factory = _Connections(self)
        self._timer = CoarseTimer(clock)
        self._timed = False  # the timer checks the idle ones
        self._idle: list[ClientConnection] = []
        self._open: set[ClientConnection] = set()
        self._connecting: dict[ConnectionTaker, Deferred[Any]] = {}
        # In the order of arrival. A plain dict is slow to find its first key after many were taken.
        self._waiting: OrderedDict[ConnectionTaker, None] = OrderedDict()
        self._closed = False
        self._serving = False

    @property
    def size(self) -> int:
        """The number of connections that are open or being opened."""
        return len(self._open) + len(self._connecting)

    @property
    def full(self) -> bool:
        """Whether a new taker has to wait for the connection of another."""
        return 0 < self.limits.connections <= self.size

    @property
    def idle(self) -> int:
        """The number of idle connections."""
        return len(self._idle)

    @property
    def idle_longest(self) -> float:
        """The time since which the oldest idle connection is idle; infinite if there is none."""
        return self._idle[0].idle_since if self._idle else math.inf

    @property
    def waiting(self) -> int:
        """The number of takers that wait under the limit."""
        return len(self._waiting)

    # -- called by takers

    def acquire(self, taker: ConnectionTaker, *, fresh: bool = False) -> ClientConnection | None:
        """
        An idle connection that can be used again; None if there is none.

        After None the pool calls `connected` or `upstream_failed` of `taker`, within this call if a connection is made
        or refused at once. Under a limit the taker may get a connection that another one leaves. `fresh`: do not use an
        idle connection, so the result is None.
        """
        idle = self._idle
        if idle and not fresh:
            now = self.clock.seconds()
            lifetime = self.idle_lifetime
            while idle:
                at = -1
                if lifetime.rest:
                    at = bisect_right(idle, now - lifetime.rest, key=_idle_since) - 1
                    if at < 0:
                        break
                connection = idle.pop(at)
                age = now - connection.idle_since
                if age >= lifetime.lasts:
                    connection.discard()
                elif connection.stale():
                    lifetime.closed(age, now)
                    connection.discard()
                else:
                    connection.reused = True
                    return connection
        self.counts.retried += fresh
        if self.full:
            self._waiting[taker] = None
            self.close_one()  # it may not be used yet, so a new one replaces it
        else:
            self._connect(taker)
        return None

    def abandon(self, taker: ConnectionTaker) -> None:
        """The taker no longer needs a connection, and is not called."""
        self._waiting.pop(taker, None)
        connecting = self._connecting.get(taker)
        if connecting is not None:
            connecting.cancel()

    def _connect(self, taker: ConnectionTaker) -> None:
        if self.make_room is not None:
            self.make_room()
        began = self.clock.seconds()
        connecting: Deferred[Any] = maybeDeferred(self._endpoint.connect, self._factory)
        self._connecting[taker] = connecting
        connecting.addCallbacks(self._connected, self._not_connected, callbackArgs=(taker, began), errbackArgs=(taker,))

    def _connected(self, connection: ClientConnection, taker: ConnectionTaker, began: float) -> None:
        del self._connecting[taker]
        self.connect_seconds = self.clock.seconds() - began
        taker.connected(connection)

    def _not_connected(self, failure: Failure, taker: ConnectionTaker) -> None:
        del self._connecting[taker]
        self._serve_waiting()
        if failure.check(ConnectingCancelledError, CancelledError):
            return
        text = failure.getErrorMessage()
        code = f"{self.name}_timeout" if failure.check(TimeoutError) else f"{self.name}_unreachable"
        if failure.check(BadCertificate):
            code = "bad_certificate"
        if not failure.check(ConnectError, UserError) and not isinstance(failure.value, OSError):
            text = f"{failure.type.__name__}: {text}" if failure.type else text
        refused = nobody_listens(failure.value)
        error = UpstreamError(code, f"could not connect: {text}", silent=True, refused=refused)
        error.__cause__ = failure.value
        self.counts.failed += 1
        self.trouble(error)
        taker.upstream_failed(error)

    def _serve_waiting(self) -> None:
        """Open connections for waiting takers, as far as the limit allows."""
        if self._serving:
            return  # an attempt failed within `_connect`: the loop in the outer call continues
        self._serving = True
        while self._waiting and not self.full and not self._closed:
            taker, _ = self._waiting.popitem(last=False)
            self._connect(taker)
        self._serving = False

    # -- called by connections

    def opened(self, connection: ClientConnection) -> None:
        self.counts.opened += 1
        self._open.add(connection)

    def put(self, connection: ClientConnection) -> None:
        """A connection's response is complete, and the connection may carry another request."""
        if self._timed and not self._waiting:
            connection.idle_since = self.clock.seconds()
            self._idle.append(connection)
            return
        lifetime = self.idle_lifetime
        if self._closed or not lifetime.lasts > 0:
            connection.discard()
        elif not self._waiting:
            connection.idle_since = self.clock.seconds()
            self._idle.append(connection)
            self._timed = True
            self._timer.add(self)
        elif lifetime.rest or connection.stale():
            connection.discard()  # the waiting takers get new ones
        else:
            connection.reused = True
            connection.idle_since = self.clock.seconds()
            taker, _ = self._waiting.popitem(last=False)
            taker.connected(connection)

    def closed_idle(self, connection: ClientConnection) -> None:
        """The upstream closed an idle connection."""
        if connection in self._idle:
            self._idle.remove(connection)
            now = self.clock.seconds()
            self.idle_lifetime.closed(now - connection.idle_since, now)

    def closed_unseen(self, connection: ClientConnection) -> None:
        """The upstream had already closed a connection when its request arrived there."""
        now = self.clock.seconds()
        self.idle_lifetime.closed(now - connection.idle_since, now)

    def trouble(self, error: UpstreamError) -> None:
        """A connection could not be made, or broke during a request."""
        if self.on_trouble is not None:
            self.on_trouble(error)

    def forget(self, connection: ClientConnection) -> None:
        if connection in self._idle:
            self._idle.remove(connection)

    def gone(self, connection: ClientConnection) -> None:
        """A connection has ended."""
        self._open.discard(connection)
        self.forget(connection)
        self._stop_timer()
        self._serve_waiting()

    # -- idle connections

    def close_one(self) -> None:
        """Close the connection that is idle the longest, if there is one."""
        if self._idle:
            self._idle.pop(0).discard()

    def tick(self, now: float) -> None:
        """Close connections that were idle for too long. The oldest come first."""
        self.idle_lifetime.forget(now)
        limit = now - self.idle_lifetime.lasts
        while self._idle and self._idle[0].idle_since <= limit:
            self._idle.pop(0).discard()
        # Not when the last one is taken: otherwise a pool that runs empty with every request would set its timer anew.
        self._stop_timer()

    def _stop_timer(self) -> None:
        if not self._idle:
            self._timed = False
            self._timer.discard(self)

    def close(self) -> None:
        """Close idle connections now, and the others when their responses end."""
        self._closed = True
        self._timed = False
        self._timer.discard(self)
        while self._idle:
            self._idle.pop().discard()
