"""Connections after a 101, in memory."""

from __future__ import annotations

from twisted.internet.error import ConnectionLost
from twisted.trial.unittest import SynchronousTestCase

from tests.client.rig import ClientRig, assignment
from tests.rig import GET, OK, Rig, body, fields, post, status
from tests.worker.requests import auth
from vespa.http.limits import Limits
from vespa.simulator.signing import query_envelope

WS = b"GET /ws HTTP/1.1\r\nHost: w\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n"


SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


class Tunnelling(SynchronousTestCase):
    def test_slot(self) -> None:
        """An upgraded connection holds no slot: with one at a time, a POST passes beside an open WebSocket."""
        rig = Rig(concurrency=1)
        client = rig.ask(WS)
        waiting = rig.ask(GET)
        self.assertEqual((len(rig.backend.wires), rig.gate.waiting), (1, 1))
        rig.backend.wire.send(SWITCHED)
        self.assertEqual(status(client.read()), 101)
        # Whoever waited goes first.
        rig.backend.wire.send(OK)
        self.assertEqual(status(waiting.read()), 200)
        other = rig.ask(post(b"{}"))
        rig.backend.wire.send(OK)
        self.assertEqual(status(other.read()), 200)
        # What it costs is booked until its end.
        self.assertEqual((rig.ledger.in_flight, rig.gate.working), (1, 0))
        self.assertTrue(rig.ledger.load)
        client.hang_up()
        rig.backend.wires[0].lose(ConnectionLost())
        self.assertTrue(rig.settled())
        self.assertEqual(rig.ledger.served, 3)

    def test_a_refused_tunnel_is_told(self) -> None:
        """An upgrade refused for the limit has a record, so that the autoscaler does not wait for it."""
        rig = Rig(secured=True, max_tunnels=1)
        for number in (1, 2):
            query = query_envelope(auth(request_idx=number)).encode()
            client = rig.ask(WS.replace(b"/ws", b"/ws?" + query))
        self.assertEqual(status(client.read()), 503)
        self.assertEqual((rig.ledger.refused, rig.ledger.in_flight), (1, 1))
        self.assertEqual([record.request_idx for record in rig.ledger.deletes()], [2])

    def test_a_switch_before_its_turn(self) -> None:
        """An upstream that switches protocols before it has the whole request has failed (RFC 9110 7.8)."""
        rig = Rig()
        asked = WS.replace(b"GET", b"POST").replace(b"\r\n\r\n", b"\r\nContent-Length: 100000\r\n\r\n")
        client = rig.ask(asked + b"x" * 70000)
        rig.backend.wire.send(SWITCHED)
        self.assertEqual(status(client.read()), 502)
        self.assertTrue(rig.settled())
        self.assertEqual(rig.proxy.tunnels.count, 0)

    def test_most_tunnels(self) -> None:
        """Over the limit, an upgrade is refused before the backend gets it; upgrades in progress count."""
        rig = Rig(max_tunnels=2)
        first, second, third = rig.ask(WS), rig.ask(WS), rig.ask(WS)
        response = third.read()
        self.assertEqual(status(response), 503)
        self.assertIn(b"too_many_tunnels", response)
        self.assertEqual(len(rig.backend.wires), 2)
        plain = rig.ask(GET)
        rig.backend.wire.send(OK)
        self.assertEqual(status(plain.read()), 200)
        rig.backend.wires[0].send(SWITCHED)
        rig.backend.wires[1].send(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")  # not granted
        self.assertEqual(status(second.read()), 403)
        fourth = rig.ask(WS)
        self.assertEqual(fourth.read(), b"")
        fourth.hang_up()
        first.hang_up()
        rig.backend.wires[0].hang_up()
        self.assertEqual(rig.proxy.tunnels.count, 0)
        self.assertTrue(rig.settled())

    def test_idle(self) -> None:
        """A tunnel that carries nothing for an hour is closed; one that carries anything either way is not."""
        rig = Rig()
        client = rig.ask(WS)
        backend = rig.backend.wire
        backend.send(SWITCHED)
        for way in (client, backend):
            rig.clock.pump([60.0] * 59)
            way.send(b"x")
        rig.clock.pump([60.0] * 59)
        self.assertTrue(client.open and backend.open)
        rig.clock.pump([60.0] * 3)
        self.assertFalse(client.open or backend.open)
        self.assertTrue(rig.settled())


class Upgrades(SynchronousTestCase):
    H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\n"

    def test_h2c(self) -> None:
        """What every JDK's client offers is left out, and its request served with its body, as one without."""
        rig = Rig()
        client = rig.ask(post(b"{}", extra=self.H2C))
        sent = rig.backend.wire.read()
        for word in (b"h2c", b"HTTP2", b"pgrade"):
            self.assertNotIn(word, sent)
        self.assertEqual(body(sent), b"{}")
        rig.backend.wire.send(OK)
        self.assertEqual(body(client.read()), b"ok")
        self.assertTrue(client.open and rig.settled())

    def test_h2c_taken_all_the_same(self) -> None:
        """A backend that switches to what was not offered to it is a bad one, and no tunnel comes of it."""
        upgrade = b"Connection: Upgrade\r\nUpgrade: h2c, websocket\r\n"
        for extra in (self.H2C, upgrade):
            rig = Rig()
            client = rig.ask(b"GET / HTTP/1.1\r\nHost: w\r\n" + extra + b"\r\n")
            rig.backend.wire.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
            self.assertEqual(status(client.read()), 502)
            self.assertFalse(rig.backend.wire.open)

    def test_others_by_a_setting(self) -> None:
        """The setting's protocols, in any case and version, are offered in the caller's words, each once."""
        rig = Rig(limits=Limits(upgrades=frozenset((b"irc", b"websocket"))))
        rig.ask(
            b"GET / HTTP/1.1\r\nHost: w\r\nConnection: Upgrade\r\nUpgrade: h2c, IRC/6.9, WebSocket, websocket\r\n\r\n"
        )
        self.assertEqual(fields(rig.backend.wire.read(), b"upgrade"), [b"IRC/6.9, websocket"])
        rig = Rig(limits=Limits(upgrades=frozenset()))
        rig.ask(b"GET / HTTP/1.1\r\nHost: w\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        self.assertNotIn(b"pgrade", rig.backend.wire.read())

    def test_client(self) -> None:
        """The client leaves it out as well, and an offer that it leaves out is none to the official dialect."""
        for official in (False, True):
            rig = ClientRig(official=official)
            rig.caller().send(
                post(b"{}", extra=b"Content-Type: application/json\r\n" + self.H2C).replace(b"worker", b"localhost")
            )
            rig.tell(assignment())
            sent = rig.worker().read()
            self.assertNotIn(b"h2c", sent)
            self.assertTrue(sent.endswith(b',"payload":{}}'))
