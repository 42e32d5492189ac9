"""Laws of connections to a backend: each waiting request gets one or an error; no unneeded one is kept."""

from __future__ import annotations

from twisted.internet.error import ConnectionRefusedError
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.rig import GET, OK, Rig, Wire, status
from vespa.http.agent import Agent
from vespa.http.limits import PoolLimits
from vespa.http.pool_counts import PoolCounts


class CapTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.rig = Rig(pool_limits=PoolLimits(connections=1))
        self.rig.backend.slow = True
        self.clients = [self.rig.ask(GET) for _ in range(3)]
        self.assertEqual(len(self.rig.backend.pending), 1)

    def test_refused(self) -> None:
        """If the backend cannot be reached, each waiting request gets the error, after one attempt each."""
        for client in self.clients:
            ((_, attempt),) = self.rig.backend.pending
            self.rig.backend.pending.clear()
            attempt.errback(Failure(ConnectionRefusedError()))
            self.assertEqual(status(client.read()), 502)
        self.assertTrue(self.rig.settled())
        self.assertEqual(self.rig.pool.size, 0)
        self.assertEqual(self.rig.pool.counts, PoolCounts(failed=3))

    def test_refused_at_once(self) -> None:
        """An attempt that fails at once does not prevent the others."""
        self.rig.backend.refusing = True
        self.rig.backend.pending.pop()[1].errback(Failure(ConnectionRefusedError()))
        self.assertEqual([status(client.read()) for client in self.clients], [502, 502, 502])
        self.assertTrue(self.rig.settled())

    def test_given_up(self) -> None:
        """A client that leaves while its connection is being made makes room for the next."""
        self.clients[0].hang_up()
        self.rig.backend.accept()
        self.rig.backend.accept()
        self.rig.backend.wire.send(OK)
        self.assertEqual(status(self.clients[1].read()), 200)
        self.rig.backend.wire.send(OK)
        self.assertEqual(status(self.clients[2].read()), 200)
        self.assertTrue(self.rig.settled())

    def test_many_left(self) -> None:
        """Requests that left the queue are skipped."""
        self.clients[1].hang_up()
        self.rig.backend.accept()
        self.rig.backend.wire.send(OK)
        self.assertEqual(status(self.clients[0].read()), 200)
        self.rig.backend.wire.send(OK)
        self.assertEqual(status(self.clients[2].read()), 200)
        self.assertTrue(self.rig.settled())
        self.assertEqual(self.rig.pool.size, 1)

    def test_closed_again_and_again(self) -> None:
        """A request on a kept connection that is just being closed is sent again, as often as needed."""
        self.rig.backend.slow = False
        self.rig.backend.accept()
        first, second, third = self.clients
        backend = self.rig.backend
        backend.wire.send(OK)
        self.assertEqual(status(first.read()), 200)
        backend.wire.hang_up()  # under the second's request; the third is next in line for a fresh one
        backend.wire.send(OK)
        self.assertEqual(status(third.read()), 200)
        backend.wire.hang_up()
        self.assertEqual(second.read(), b"")
        backend.wire.send(OK)
        self.assertEqual(status(second.read()), 200)
        self.assertEqual(len(backend.wires), 3)
        self.assertTrue(self.rig.settled())
        self.assertEqual(self.rig.pool.counts, PoolCounts(opened=3, lost=2, retried=2))


class KeptTests(SynchronousTestCase):
    def test_kept(self) -> None:
        """A connection is kept for the next request, and closed when none came for a while."""
        rig = Rig(pool_limits=PoolLimits(idle_seconds=2.0))
        for _ in range(2):
            client = rig.ask(GET)
            rig.backend.wire.send(OK)
            self.assertEqual(status(client.read()), 200)
        self.assertEqual((len(rig.backend.wires), rig.pool.idle), (1, 1))
        self.assertEqual(rig.pool.counts, PoolCounts(opened=1))
        for _ in range(3):
            rig.clock.advance(1.0)
        self.assertEqual((rig.backend.open, rig.pool.size), ([], 0))

    def test_lost(self) -> None:
        """A connection that breaks under its request is lost; one that the upstream closes while it is idle is not."""
        rig = Rig()
        client = rig.ask(GET)
        rig.backend.wire.send(OK)
        client.read()
        rig.backend.wire.hang_up()
        self.assertEqual(rig.pool.counts, PoolCounts(opened=1))
        client.send(GET)
        rig.backend.wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        rig.backend.wire.hang_up()
        self.assertEqual(rig.pool.counts, PoolCounts(opened=2, lost=1))

    def test_not_kept(self) -> None:
        """With a keep-alive time of 0, a connection is closed at once."""
        rig = Rig(pool_limits=PoolLimits(idle_seconds=0.0))
        client = rig.ask(GET)
        rig.backend.wire.send(OK)
        self.assertEqual(status(client.read()), 200)
        self.assertEqual((rig.backend.open, rig.pool.size), ([], 0))

    def test_probe(self) -> None:
        """An agent that is to keep none closes it even where the server would go on."""
        reactor = MemoryReactorClock()
        agent = Agent(reactor, persistent=False)
        response = agent.request(b"GET", b"http://127.0.0.1:8000/health")
        reactor.advance(0)
        ((_, _, factory, _, _),) = reactor.tcpClients
        wire = Wire()
        wire.attach(factory.buildProtocol(None))
        self.assertIn(b"\r\nConnection: close\r\n", wire.read())
        wire.send(OK)
        self.assertEqual(self.successResultOf(response).code, 200)
        self.assertFalse(wire.open)
        self.assertEqual(
            [call for call in reactor.getDelayedCalls() if call.getTime() - reactor.seconds() < 5],
            [],
            "no timer is left",
        )
