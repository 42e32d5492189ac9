"""What needs a connection of a pool, in tests of the connections themselves."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from vespa.http.connection_pool import ConnectionPool
from vespa.http.interfaces import UpstreamError


class Taker:
    """A `ConnectionTaker`; `result` fires with the connection, or fails with what there is in its place."""

    def __init__(self) -> None:
        self.result: Deferred[Any] = Deferred()

    def connected(self, connection: Any) -> None:
        self.result.callback(connection)

    def upstream_failed(self, error: UpstreamError) -> None:
        self.result.errback(error)


def connect(pool: ConnectionPool) -> Deferred[Any]:
    """A connection of which no request was sent, or under a cap the next that comes free."""
    taker = Taker()
    assert pool.acquire(taker, fresh=True) is None
    return taker.result


def take(pool: ConnectionPool) -> Any:
    """A connection that lies idle, and may be used again; None if there is none."""
    taker = Taker()
    connection = pool.acquire(taker)
    if connection is None:
        pool.abandon(taker)
        taker.result.addCallbacks(lambda fresh: fresh.discard(), lambda _: None)  # made on the spot, and not asked for
    return connection
