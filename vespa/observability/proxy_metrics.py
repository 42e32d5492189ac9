"""The metrics that worker and client share, read from their parts when they are asked for."""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Any, Final

from attrs import frozen

import vespa
from vespa.accounting.fair_queue import FairQueue
from vespa.http.connection_pool import ConnectionPool
from vespa.http.pool_counts import PoolCounts
from vespa.http.server import Server
from vespa.observability.histogram import Histogram
from vespa.observability.metric import Description, Reading, Value, counter, gauge, histogram
from vespa.proxy.upgrade import Tunnels
from vespa.transport.choice import FAST, STOCK, is_fast

BUILD: Final = Description(
    "vespa_build_info",
    "info",
    "The versions of this process; the value is always 1.",
    ("version", "python", "twisted", "transport"),
)
READY: Final = gauge("vespa_ready", "1 if the proxy serves requests now, as /readyz says, otherwise 0.")
LOOP_LAG: Final = histogram(
    "vespa_event_loop_lag_seconds",
    "How late the event loop calls a timer, measured four times a second.",
    (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
IN_FLIGHT: Final = gauge("vespa_requests_in_flight", "Requests that hold a slot now.")
IN_FLIGHT_LIMIT: Final = gauge("vespa_requests_in_flight_limit", "The number of slots; +Inf without a limit.")
QUEUED: Final = gauge("vespa_requests_queued", "Requests that wait for a slot now.")
QUEUED_LIMIT: Final = gauge("vespa_requests_queued_limit", "The number of requests that may wait for a slot.")
TUNNELS: Final = gauge("vespa_tunnels", "Upgraded connections (WebSockets) that are open now, or asked for.")
TUNNELS_LIMIT: Final = gauge("vespa_tunnels_limit", "The number of upgraded connections; +Inf without a limit.")
CONNECTIONS: Final = gauge("vespa_connections", "Connections from callers that are open now.")
CONNECTIONS_LIMIT: Final = gauge(
    "vespa_connections_limit", "The number of connections from callers; +Inf without a limit."
)
HELD: Final = gauge("vespa_held_bytes", "Bytes held in memory for requests and responses in flight.")
HELD_LIMIT: Final = gauge("vespa_held_limit_bytes", "The number of bytes that may be held; +Inf without a limit.")
POOLED: Final = gauge(
    "vespa_backend_connections", "Connections to the upstream (the backend; for the client, workers), open or opening."
)
POOLED_IDLE: Final = gauge("vespa_backend_connections_idle", "Connections to the upstream that are kept for reuse.")
POOLED_LIMIT: Final = gauge(
    "vespa_backend_connections_limit",
    "The number of connections to the upstream (for the client, to each worker); +Inf without a limit.",
)
POOL_WAITING: Final = gauge(
    "vespa_backend_requests_waiting", "Requests that wait for a connection to the upstream, whose limit is reached."
)
OPENED: Final = counter("vespa_backend_connections_opened_total", "Connections to the upstream that were made.")
FAILED: Final = counter("vespa_backend_connections_failed_total", "Connections to the upstream that could not be made.")
LOST: Final = counter(
    "vespa_backend_connections_lost_total", "Connections that the upstream closed or reset during a request."
)
RETRIES: Final = counter(
    "vespa_retries_total", "Requests sent once more because the upstream had closed a kept connection."
)


@frozen(kw_only=True)
class ProxyParts:
    """
    What worker and client have in common, for `proxy_readings`.

    `ready` returns whether requests are served. `pools` returns the pools of all upstreams,
    `pool_limit` is the limit of connections of each (0: none), and `pool_counts` counts for all of them.
    """

    gate: FairQueue[Any]
    server: Server
    tunnels: Tunnels
    ready: Callable[[], bool]
    lag: Histogram
    pools: Callable[[], Sequence[ConnectionPool]]
    pool_limit: int
    pool_counts: PoolCounts


def proxy_readings(parts: ProxyParts) -> list[Reading]:
    """The metrics that both have."""
    gate, server, tunnels, counts, limits = (
        parts.gate,
        parts.server,
        parts.tunnels,
        parts.pool_counts,
        parts.server.limits,
    )

    def summed(measure: Callable[[ConnectionPool], int]) -> Callable[[], Value]:
        return lambda: sum(map(measure, parts.pools()))

    return [
        Reading(BUILD, build),
        Reading(READY, lambda: int(parts.ready())),
        Reading(LOOP_LAG, lambda: parts.lag),
        Reading(IN_FLIGHT, lambda: gate.working),
        Reading(IN_FLIGHT_LIMIT, lambda: limit(gate.max_concurrency)),
        Reading(QUEUED, lambda: gate.waiting),
        Reading(QUEUED_LIMIT, lambda: gate.max_queue),
        Reading(TUNNELS, lambda: tunnels.count),
        Reading(TUNNELS_LIMIT, lambda: limit(tunnels.most)),
        Reading(CONNECTIONS, lambda: len(server.connections)),
        Reading(CONNECTIONS_LIMIT, lambda: limit(limits.connections)),
        Reading(HELD, lambda: server.held.total),
        Reading(HELD_LIMIT, lambda: limit(limits.held_bytes)),
        Reading(POOLED, summed(lambda pool: pool.size)),
        Reading(POOLED_IDLE, summed(lambda pool: pool.idle)),
        Reading(POOLED_LIMIT, lambda: limit(parts.pool_limit)),
        Reading(POOL_WAITING, summed(lambda pool: pool.waiting)),
        Reading(OPENED, lambda: counts.opened),
        Reading(FAILED, lambda: counts.failed),
        Reading(LOST, lambda: counts.lost),
        Reading(RETRIES, lambda: counts.retried),
    ]


def limit(most: float | None) -> float:
    """A limit as a metric: 0 and None stand for no limit, which is +Inf, so that a share of it is 0."""
    return most or math.inf


def build() -> Mapping[str, str]:
    """The labels of `vespa_build_info`."""
    return {
        "version": vespa.__version__,
        "python": platform.python_version(),
        "twisted": version("twisted"),
        "transport": FAST if is_fast() else STOCK,
    }
