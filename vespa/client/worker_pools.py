"""The workers that requests are sent to: a pool of connections for each address from the autoscaler."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any, Final

from attrs import define, field
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from vespa.client.trust import TrustError, WorkerTrust
from vespa.http.connection_pool import ConnectionPool
from vespa.http.interfaces import UpstreamError
from vespa.http.limits import PoolLimits
from vespa.http.pool_counts import PoolCounts
from vespa.protocol.refusal import Refusal
from vespa.runtime.local_addresses import is_near, is_public
from vespa.transport.origin import Origin

IDLE_SECONDS: Final = 15.0
"""How long an idle connection is kept: workers keep theirs for 30 s or more, and a handshake is expensive."""
CONNECT_SECONDS: Final = 10.0
"""The time limit for a connection to a worker, including its TLS handshake. Then the client asks for another one."""
PROBE_SECONDS: Final = 15
"""A model may be silent for long. With this probe a worker whose machine has disappeared is given up after a minute."""
_WORKERS_MAX: Final = 256


@define(eq=False)
class Worker:
    """
    One worker's address, and the connections to it.

    `requests` were sent to it since it is known, again for another attempt. `failures` are those for which another
    worker was looked for, the last at `failed_at` (epoch seconds, 0.0: none) because of `trouble`.
    """

    origin: Origin
    pool: ConnectionPool
    requests: int = 0
    failures: int = 0
    failed_at: float = 0.0
    trouble: str = ""

    def post(self, path: bytes, body: bytes) -> bytes:
        """A whole request of the client's own, with a JSON body."""
        origin = self.origin
        return b"POST %b%b HTTP/1.1\r\nHost: %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
            origin.path_prefix,
            path,
            origin.host_field,
            len(body),
            body,
        )


@define(eq=False, slots=False)
class WorkerPools:
    """
    All recent workers, the one used last at the end.

    `connections` limits the connections to one worker; 0: no limit. Above `most` to all of them, idle ones are
    closed for new ones; 0: never. `anywhere`: workers may also be on this machine or its link, as with a simulator.
    Vast's own workers are not.
    """

    log = Logger()

    _reactor: Any
    _trust: WorkerTrust
    connections: int = 0
    _most: int = 0
    _anywhere: bool = False
    _known: dict[str, Worker] = field(factory=dict, init=False)
    counts: PoolCounts = field(factory=PoolCounts, init=False)  # of all workers, also of forgotten ones

    def known(self, url: str) -> Worker | None:
        """The worker at `url`, if it is known."""
        worker = self._known.pop(url, None)
        if worker is not None:
            self._known[url] = worker
        return worker

    def get_worker(self, url: str) -> Deferred[Worker]:
        """
        The worker at `url`, known or new.

        Fires with it; fails with `UpstreamError` for an address that is not valid, and like `WorkerTrust.roots`.
        """
        worker = self.known(url)
        return succeed(worker) if worker is not None else Deferred.fromCoroutine(self._get_worker(url))

    def find(
        self, url: str, found: Callable[[Worker], None], not_found: Callable[[Refusal], None]
    ) -> Deferred[None] | None:
        """
        Call `found` with the worker at `url`, or `not_found` with the reason why no connection to it can be prepared.

        Within this call if that is known now, and the result is None. Otherwise returns a Deferred that fires after the
        call, and can be cancelled instead.
        """
        worker = self.known(url)
        if worker is not None:
            found(worker)
            return None

        def failed(failure: Failure) -> None:
            if not failure.check(CancelledError):
                not_found(_refusal(failure))

        finding = self.get_worker(url).addCallbacks(found, failed)
        return None if finding.called else finding

    async def _get_worker(self, url: str) -> Worker:
        try:
            origin = Origin.parse(url)
            if origin.socket:
                raise ValueError("it is not an http address")
            is_address = isIPAddress(origin.host) or isIPv6Address(origin.host)
            if not self._anywhere and (is_near(origin.host) or (is_address and not is_public(origin.host))):
                raise ValueError("it is on this machine, its own network link or a private network")
        except ValueError as error:
            raise UpstreamError("bad_assignment", f"the autoscaler named an invalid address: {error}") from None
        if origin.scheme == "http" and not is_near(origin.host):
            self.log.warn("worker {url} does not speak TLS: others can read the data on the way", url=url)
        trust = await self._trust.roots() if origin.scheme == "https" else None
        worker = self.known(url)  # another request may have added it meanwhile
        if worker is None:
            # A name may resolve to any address, and to another one each time. So each connection checks the address.
            allows = None if self._anywhere else is_public
            endpoint = origin.endpoint(self._reactor, CONNECT_SECONDS, trust, allows)
            limits = PoolLimits(idle_seconds=IDLE_SECONDS, connections=self.connections, probe_seconds=PROBE_SECONDS)
            pool = ConnectionPool(endpoint, self._reactor, limits, name="worker", address=url, counts=self.counts)
            if self._most:
                pool.make_room = self._make_room
            worker = self._known[url] = Worker(origin, pool)
            self._forget_some(url)
        return worker

    def all(self) -> dict[str, Worker]:
        """All workers by their URLs, the one used last at the end. At most 256, and those with requests in flight."""
        return dict(self._known)

    def pools(self) -> list[ConnectionPool]:
        """The pools of all workers."""
        return [worker.pool for worker in self._known.values()]

    def _make_room(self) -> None:
        """Close the connection that is idle the longest, if the limit is reached: each uses a descriptor."""
        pools = self.pools()
        if sum(pool.size for pool in pools) >= self._most:
            min(pools, key=attrgetter("idle_longest")).close_one()

    def _forget_some(self, new: str) -> None:
        """Limit the number of workers: drop those unused for longest, but none with a request in flight."""
        for url in [u for u, w in self._known.items() if w.pool.size == w.pool.idle and u != new]:
            if len(self._known) <= _WORKERS_MAX:
                return
            self._known.pop(url).pool.close()

    def close(self) -> None:
        """Close idle connections. Requests in flight go on."""
        for worker in self._known.values():
            worker.pool.close()
        self._known.clear()


def _refusal(failure: Failure) -> Refusal:
    """The refusal if the connection to a worker cannot be prepared."""
    error: Any = failure.value
    if failure.check(UpstreamError):
        return Refusal(502, error.code, str(error), origin="autoscaler")
    if failure.check(TrustError):
        return Refusal(502, "no_worker_root", f"the worker cannot be verified: {error}", origin="console")
    WorkerPools.log.failure("preparing the connection to a worker failed", failure)
    return Refusal(500, "internal_error", "the proxy failed: its log has the traceback")
