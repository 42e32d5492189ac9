"""The workers that requests are sent to: a pool of connections for each address the autoscaler names."""

from __future__ import annotations

from operator import attrgetter
from typing import Any, Final

from attrs import define
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from vespa.client.trust import WorkerTrust
from vespa.http.connection_pool import ConnectionPool
from vespa.http.interfaces import UpstreamError
from vespa.http.limits import PoolLimits
from vespa.runtime.local_addresses import is_near, is_public
from vespa.transport.origin import Origin

IDLE_SECONDS: Final = 15.0
"""How long an idle connection to a worker is kept: workers keep theirs for 30 s or more, and a handshake is dear."""
CONNECT_SECONDS: Final = 10.0
"""Time to connect to a worker, its TLS handshake included; then another one is asked for."""
PROBE_SECONDS: Final = 15
"""A model may be silent for long; a worker whose machine has vanished is given up after a minute all the same."""
_WORKERS_MAX: Final = 256


@define(eq=False)
class Worker:
    """One worker's address, and the connections there."""

    origin: Origin
    pool: ConnectionPool


class WorkerPools:
    """All workers met lately, the one used last at the end."""

    log = Logger()

    def __init__(
        self, reactor: Any, trust: WorkerTrust, *, connections: int = 0, most: int = 0, anywhere: bool = False
    ) -> None:
        """
        `connections` is the most to one worker; 0: no limit. Beyond `most` to all of them idle ones are closed for new
        ones; 0: never. `anywhere`: workers may be on this machine or link too,
        as they are with a simulator; Vast's own are not.
        """
        self._anywhere = anywhere
        self._reactor = reactor
        self._trust = trust
        self._limits = PoolLimits(idle_seconds=IDLE_SECONDS, connections=connections, probe_seconds=PROBE_SECONDS)
        self._known: dict[str, Worker] = {}
        self._most = most

    def known(self, url: str) -> Worker | None:
        """The worker at `url`, if it was met before."""
        worker = self._known.pop(url, None)
        if worker is not None:
            self._known[url] = worker
        return worker

    def get_worker(self, url: str) -> Deferred[Worker]:
        """
        The worker at `url`, new or not.

        Fires with it; fails with `UpstreamError` for an address that is none, and as `WorkerTrust.roots` does.
        """
        worker = self.known(url)
        return succeed(worker) if worker is not None else Deferred.fromCoroutine(self._get_worker(url))

    async def _get_worker(self, url: str) -> Worker:
        try:
            origin = Origin.parse(url)
            if origin.socket:
                raise ValueError("it is no http address")
            is_address = isIPAddress(origin.host) or isIPv6Address(origin.host)
            if not self._anywhere and (is_near(origin.host) or (is_address and not is_public(origin.host))):
                raise ValueError("it is on this machine, its own network link or a private network")
        except ValueError as error:
            raise UpstreamError("bad_assignment", f"the autoscaler named an address that is none: {error}") from None
        if origin.scheme == "http" and not is_near(origin.host):
            self.log.warn("worker {url} does not speak TLS: what is sent there can be read on the way", url=url)
        trust = await self._trust.roots() if origin.scheme == "https" else None
        worker = self.known(url)  # another may have met it meanwhile
        if worker is None:
            # A name may lead anywhere, and elsewhere each time: what it leads to is checked at each connection.
            allows = None if self._anywhere else is_public
            endpoint = origin.endpoint(self._reactor, CONNECT_SECONDS, trust, allows)
            pool = ConnectionPool(endpoint, self._reactor, self._limits, name="worker")
            if self._most:
                pool.make_room = self._make_room
            worker = self._known[url] = Worker(origin, pool)
            self._forget_some(url)
        return worker

    def pools(self) -> list[ConnectionPool]:
        """The pools of all of them."""
        return [worker.pool for worker in self._known.values()]

    def _make_room(self) -> None:
        """Close what is idle the longest, if there are as many connections as may be: each is a descriptor."""
        pools = self.pools()
        if sum(pool.size for pool in pools) >= self._most:
            min(pools, key=attrgetter("idle_longest")).close_one()

    def _forget_some(self, new: str) -> None:
        """Bounded: the longest unused go first, and never one with a request under way."""
        for url in [u for u, w in self._known.items() if w.pool.size == w.pool.idle and u != new]:
            if len(self._known) <= _WORKERS_MAX:
                return
            self._known.pop(url).pool.close()

    def close(self) -> None:
        """Close what is free; requests under way go on."""
        for worker in self._known.values():
            worker.pool.close()
        self._known.clear()
