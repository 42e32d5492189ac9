"""The workers that were met, and the addresses that are none."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from tests.rig import Wire
from tests.transport.test_resolve import Resolver
from vespa.client import worker_pools
from vespa.client.trust import TrustError, WorkerTrust
from vespa.client.worker_pools import Worker, WorkerPools
from vespa.http.client_connection import ClientConnection
from vespa.http.connection_pool import ConnectionPool
from vespa.http.interfaces import UpstreamError


class Taker:
    """Somebody who needs a connection: `given` fires with it, or fails."""

    def __init__(self, pool: ConnectionPool) -> None:
        self.given: Deferred[ClientConnection] = Deferred()
        connection = pool.acquire(self)
        if connection is not None:
            self.connected(connection)

    def connected(self, connection: ClientConnection) -> None:
        self.given.callback(connection)

    def upstream_failed(self, error: UpstreamError) -> None:
        self.given.errback(error)


class Slow:
    """A root that comes when it is told to."""

    def __init__(self) -> None:
        self.waiting: list[Deferred[object]] = []

    async def roots(self) -> object:
        self.waiting.append(Deferred())
        return await self.waiting[-1]


class WorkersTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.trust: Any = Slow()
        self.workers = WorkerPools(MemoryReactorClock(), cast(WorkerTrust, self.trust))

    def test_one_for_each_address(self) -> None:
        """The same address is the same worker, with its connections."""
        first = self.successResultOf(self.workers.get_worker("http://203.0.113.7:1"))
        self.assertIs(self.successResultOf(self.workers.get_worker("http://203.0.113.7:1")), first)
        self.assertIs(self.workers.known("http://203.0.113.7:1"), first)
        self.assertIsNot(self.successResultOf(self.workers.get_worker("http://203.0.113.7:2")), first)

    def test_find(self) -> None:
        """What is known now is told within the call; what has to be waited for is told once, unless it is cancelled."""
        found: list[Worker] = []
        refused: list[str] = []

        def find(url: str) -> Deferred[None] | None:
            return self.workers.find(url, found.append, lambda refusal: refused.append(refusal.code))

        self.assertEqual([find(url) for url in ("http://203.0.113.7:1", "http://203.0.113.7:1", "ftp://a")], [None] * 3)
        self.assertEqual((len(found), len(set(map(id, found))), refused), (2, 1, ["bad_assignment"]))
        later, given_up = find("https://203.0.113.8"), find("https://203.0.113.9")
        assert later is not None and given_up is not None
        given_up.cancel()
        self.assertEqual((len(found), refused), (2, ["bad_assignment"]))
        self.trust.waiting[0].callback(None)
        self.assertEqual((len(found), refused), (3, ["bad_assignment"]))
        self.assertTrue(later.called)

    def test_what_is_no_workers_address(self) -> None:
        """Nothing is connected to but http and https at an address elsewhere, with a path that is one."""
        for url in (
            "ftp://203.0.113.7",
            "unix:/run/docker.sock",
            "http://",
            "http://u:p@203.0.113.7",
            "http://203.0.113.7/?a",
            "http://203.0.113.7:0",
            "http://203.0.113.7/a HTTP/1.1",
            "http://203.0.113.7/\x0b",
            "http://203.0.113.7:99999",
            "http://127.0.0.1:6379",
            "http://localhost:6379",
            "http://[::1]",
            "http://0.0.0.0",
            "http://169.254.169.254/latest",
            "http://127.1",
            "http://2130706433",
            "http://localhost.",
            "http://[::ffff:127.0.0.1]",
            "https://203.0.113.7:x",
            "http://10.0.0.1",
            "https://192.168.1.1:31000",
            "http://[fd00:ec2::254]",
            "http://[64:ff9b::a9fe:a9fe]",
            "http://[2002:7f00:1::]",
            "http://[::ffff:169.254.169.254]",
            f"http://{'a' * 64}.example",
            "http://a..example",
            "http://" + ".".join(["a" * 60] * 5),
        ):
            failure = self.failureResultOf(self.workers.get_worker(url), UpstreamError)
            self.assertEqual(failure.value.code, "bad_assignment", url)

    def test_names_that_lead_here(self) -> None:
        """A name is looked up at each connection; only an address on the Internet is connected to."""
        reactor: Any = MemoryReactorClock()
        resolver = Resolver()
        reactor.installNameResolver(resolver)
        known = WorkerPools(reactor, self.trust)
        worker = self.successResultOf(known.get_worker("http://worker.example:31000"))
        for address in (
            "127.0.0.1",
            "10.1.2.3",
            "172.31.0.1",
            "192.168.0.1",
            "169.254.169.254",
            "100.100.100.200",
            "0.0.0.0",
            "::1",
            "fe80::1",
            "fd00:ec2::254",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "::7f00:1",
        ):
            connecting = Taker(worker.pool).given
            kind = IPv6Address if ":" in address else IPv4Address
            resolver.tell(kind("TCP", address, 31000))
            error = self.failureResultOf(connecting, UpstreamError).value
            self.assertEqual(error.code, "worker_unreachable")
            self.assertIn(address, str(error))
        self.assertEqual(reactor.tcpClients, [])
        for address in ("203.0.113.7", "64:ff9b::cb00:7107", "2606:4700::1"):
            Taker(worker.pool)
            kind = IPv6Address if ":" in address else IPv4Address
            resolver.tell(kind("TCP", address, 31000))
            self.assertEqual(reactor.tcpClients[-1][0], address)

    def test_a_look_up_that_never_ends(self) -> None:
        """It takes no longer than a connection may."""
        reactor: Any = MemoryReactorClock()
        reactor.installNameResolver(Resolver())
        worker = self.successResultOf(WorkerPools(reactor, self.trust).get_worker("http://worker.example:31000"))
        connecting = Taker(worker.pool).given
        reactor.advance(worker_pools.CONNECT_SECONDS + 0.1)
        self.assertEqual(self.failureResultOf(connecting, UpstreamError).value.code, "worker_timeout")

    def test_near_with_a_simulator(self) -> None:
        """Where the autoscaler is one of the user's choice, workers may be here."""
        near = WorkerPools(MemoryReactorClock(), self.trust, anywhere=True)
        self.successResultOf(near.get_worker("http://127.0.0.1:6379"))

    def test_plain_is_told(self) -> None:
        """A worker without TLS is used, and once a warning."""
        with capturedLogs() as logs:
            for _ in range(3):
                self.successResultOf(self.workers.get_worker("http://203.0.113.7:1"))
        self.assertEqual([event["log_level"] for event in logs], [LogLevel.warn])

    def test_root_first(self) -> None:
        """No worker is met over TLS before there is a root; those who met it meanwhile share it."""
        first, second = self.workers.get_worker("https://203.0.113.7"), self.workers.get_worker("https://203.0.113.7")
        self.assertNoResult(first)
        for waiting in self.trust.waiting:
            waiting.callback(None)
        self.assertIs(self.successResultOf(first), self.successResultOf(second))
        third = self.workers.get_worker("https://203.0.113.8")
        self.trust.waiting[-1].errback(TrustError("no root"))
        self.failureResultOf(third, TrustError)

    def test_connections_to_all_of_them(self) -> None:
        """Where there are as many as may be, the one that was idle the longest gives way to a new one."""
        reactor = MemoryReactorClock()
        known = WorkerPools(reactor, self.trust, most=3)
        pools = [self.successResultOf(known.get_worker(f"http://203.0.113.7:{port}")).pool for port in range(1, 4)]

        def open_one(pool: ConnectionPool) -> ClientConnection:
            connecting = Taker(pool).given
            wire = Wire()
            wire.attach(reactor.tcpClients[-1][2].buildProtocol(IPv4Address("TCP", "203.0.113.7", 1)))
            return self.successResultOf(connecting)

        for pool in pools[:2]:
            reactor.advance(1)
            pool.put(open_one(pool))
        busy = [open_one(pools[2])]
        self.assertEqual([(pool.size, pool.idle) for pool in pools], [(1, 1), (1, 1), (1, 0)])
        busy.append(open_one(pools[2]))
        self.assertEqual([(pool.size, pool.idle) for pool in pools], [(0, 0), (1, 1), (2, 0)])
        busy.append(open_one(pools[0]))
        busy.append(open_one(pools[0]))
        self.assertEqual([(pool.size, pool.idle) for pool in pools], [(2, 0), (0, 0), (2, 0)], "none that is busy")

    def test_bounded(self) -> None:
        """The longest unused are forgotten, and never the one just met."""
        self.patch(worker_pools, "_WORKERS_MAX", 2)
        for port in range(1, 5):
            self.successResultOf(self.workers.get_worker(f"http://203.0.113.7:{port}"))
        known = [port for port in range(1, 5) if self.workers.known(f"http://203.0.113.7:{port}")]
        self.assertEqual(known, [3, 4])

    def test_counted_together(self) -> None:
        """The connections to all workers are counted together: those to a forgotten worker stay counted."""
        first, second = (
            self.successResultOf(self.workers.get_worker(f"http://203.0.113.7:{port}")).pool for port in (1, 2)
        )
        self.assertIs(first.counts, self.workers.counts)
        self.assertIs(second.counts, self.workers.counts)
