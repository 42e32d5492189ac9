"""The way to the only backend."""

from __future__ import annotations

from collections.abc import Callable

from vespa.accounting.fair_queue import FairQueue
from vespa.http.connection_pool import ConnectionPool
from vespa.http.interfaces import UpstreamError
from vespa.protocol.request_head import RequestHead
from vespa.protocol.response_head import ResponseHead
from vespa.protocol.via import Via
from vespa.proxy.exchange import Exchange
from vespa.transport.origin import Origin
from vespa.worker.interfaces import WorkerUpstreams
from vespa.worker.policy import Policy
from vespa.worker.request_headers import WorkerRequestHeaders


class OneUpstream:
    """Sends every request to the same pool, which has the connections to `origin`."""

    def __init__(self, pool: ConnectionPool, origin: Origin, gate: FairQueue[Exchange]) -> None:
        self._pool = pool
        self._origin = origin
        self.gate = gate
        self.pools = (pool,)

    def on_moved(self, watch_queue: Callable[[], None]) -> None:
        """Never called: there is no other backend."""

    def headers(self, policy: Policy, via: Via, target: Callable[[RequestHead], bytes]) -> WorkerRequestHeaders:
        """What makes the heads of requests to the backend."""
        return WorkerRequestHeaders(policy, via, target, self._origin)

    def select(self, exchange: Exchange) -> ConnectionPool:
        return self._pool

    def next_upstream(self, exchange: Exchange, failure: UpstreamError | ResponseHead) -> bool:
        """There is no other upstream."""
        return False

    def abandon(self, exchange: Exchange) -> None:
        """Nothing to do."""


_check: type[WorkerUpstreams] = OneUpstream
