"""How many connections a server takes, and which it closes for new ones, in memory."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.rig import GET, Rig, Wire, status
from vespa.http.limits import Limits


class Lasting:
    """A transport that takes its time to close."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def __getattr__(self, name: str) -> object:
        return getattr(self._wire, name)

    def loseConnection(self) -> None:
        """Not in this turn."""


class Connections(SynchronousTestCase):
    def test_many_connections(self) -> None:
        """Over the cap a connection is answered 503 and closed; a place that comes free is given again."""
        rig = Rig(limits=Limits(connections=2, connections_per_address=0))
        first, _ = rig.ask(GET), rig.ask(GET)
        third = rig.client()
        self.assertEqual(status(third.read()), 503)
        self.assertFalse(third.open)
        first.hang_up()
        self.assertEqual(rig.client().read(), b"")

    def test_idle_first(self) -> None:
        """Over the cap an idle connection is closed for a new one, the longest idle first; none that is busy."""
        rig = Rig(limits=Limits(connections=5))
        busy = rig.ask(GET)
        clients = []
        for _ in range(4):
            clients.append(rig.client())
            rig.clock.advance(1.0)
        clients[0].send(b"GET /ping HTTP/1.1\r\nHost: w\r\n\r\n")  # idle anew
        rig.clock.advance(1.0)
        new = [rig.client() for _ in range(4)]
        self.assertEqual([client.open for client in clients], [False] * 4)
        self.assertTrue(busy.open and all(client.open for client in new))
        self.assertEqual(status(rig.client().read()), 503)  # the next search is a moment away
        rig.clock.advance(1.0)
        self.assertTrue(rig.client().open)
        self.assertEqual(len(rig.server.connections), 5)

    def test_clock_set_back(self) -> None:
        """A clock that was set back does not keep new connections out."""
        rig = Rig(limits=Limits(connections=2))
        rig.clock.advance(7200.0)
        for _ in range(4):
            rig.client()
        self.assertEqual(status(rig.client().read()), 503)  # the next search is a moment away
        rig.clock.rightNow -= 3600.0
        self.assertTrue(rig.client().open)

    def test_longest_idle(self) -> None:
        """One that lingers, or has sent a part of a head, gives way like one that is silent."""
        for start in (
            b"",
            b"GET / HT",
            b"PUT /x?serverless_cost=1 HTTP/1.1\r\nHost: w\r\nContent-Length: 100000000\r\n\r\n",
        ):
            rig = Rig(secured=True, limits=Limits(connections=2))
            older = rig.ask(start)
            rig.clock.pump([1.0, 1.0])
            younger = rig.client()
            rig.clock.advance(1.0)
            new = rig.client()
            self.assertEqual((older.open, younger.open, new.open), (False, True, True))

    def test_not_idle(self) -> None:
        """One that has sent a request ahead is not idle, though its responses cannot be written now."""
        rig = Rig(limits=Limits(connections=1))
        client = rig.client()
        client.fill()
        client.send(b"GET /ping HTTP/1.1\r\nHost: w\r\n\r\n")
        rig.clock.advance(1.0)
        self.assertEqual(status(rig.client().read()), 503)
        client.drain()
        self.assertIn(b"pong", client.read())

    def test_room_in_one_turn(self) -> None:
        """No more are on their way out at once than the reserve of descriptors has room for."""
        rig = Rig(limits=Limits(connections=40))
        clients = [rig.client() for _ in range(40)]
        for client in clients:
            client.protocol.transport = Lasting(client)
        self.assertEqual([rig.client().read()[:12] for _ in range(20)], [b""] * 16 + [b"HTTP/1.1 503"] * 4)

    def test_many_connections_of_one(self) -> None:
        """One address cannot take all places."""
        rig = Rig(limits=Limits(connections_per_address=1))
        rig.client("192.0.2.1")
        self.assertEqual(status(rig.client("192.0.2.1").read()), 503)
        self.assertEqual(rig.client("192.0.2.2").read(), b"")
