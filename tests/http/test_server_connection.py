"""A client's connection, in memory: its limits and its clocks."""

from __future__ import annotations

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import ISSLTransport
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import directlyProvides

from tests.rig import DATE, GET, OK, Rig, Wire, body, post, status, turn
from tests.worker.test_app import auth
from vespa.http.limits import Limits
from vespa.protocol import fields, message_head
from vespa.simulator.signing import query_envelope
from vespa.transport.turn_end import QueuedTurnEnd

UNVERIFIED = b'POST / HTTP/1.1\r\nHost: w\r\nContent-Length: 1000000\r\n\r\n{"payload": "'


class TurnClock(Clock):
    """A clock with an end of the turn, at the time of `Rig`'s."""

    def __init__(self) -> None:
        super().__init__()
        self.turn_end = QueuedTurnEnd()
        self.advance(1_700_000_000.0)


class Lasting:
    """A transport that takes its time to close."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def __getattr__(self, name: str) -> object:
        return getattr(self._wire, name)

    def loseConnection(self) -> None:
        """Not in this turn."""


class Clocks(SynchronousTestCase):
    def test_head_in_time(self) -> None:
        """A head has ten seconds from the start of the connection, however steadily it drips."""
        rig = Rig()
        client = rig.client()
        for byte in b"GET / HTTP/1":
            client.send(bytes([byte]))
            rig.clock.advance(1.0)
            if not client.open:
                break
        self.assertEqual(status(client.read()), 408)
        self.assertFalse(client.open)

    def test_silent_connection(self) -> None:
        """A connection on which nothing comes is closed without a word."""
        rig = Rig()
        client = rig.client()
        rig.clock.pump([1.0] * 11)
        self.assertEqual((client.read(), client.open), (b"", False))

    def test_keep_alive_ends(self) -> None:
        """An idle connection is closed after thirty seconds, and not before."""
        rig = Rig()
        client = rig.ask(GET)
        rig.backend.wire.send(OK)
        rig.clock.pump([1.0] * 28)
        self.assertTrue(client.open)
        rig.clock.pump([1.0] * 4)
        self.assertFalse(client.open)

    def test_no_clock_on_streams(self) -> None:
        """A stream may be silent for as long as it likes."""
        rig = Rig()
        client = rig.ask(GET)
        rig.backend.wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        rig.clock.pump([60.0] * 60)
        self.assertTrue(client.open)

    def test_slow_body(self) -> None:
        """An unverified body slower than the minimum rate is cut with 408; one that is faster is not."""
        rig = Rig(secured=True, limits=Limits(body_min_rate=100))
        client = rig.ask(UNVERIFIED)
        for _ in range(12):
            if client.open:
                client.send(b"x")
            rig.clock.advance(1.0)
        self.assertEqual(status(client.read()), 408)
        self.assertTrue(rig.settled())
        rig = Rig(secured=True, limits=Limits(body_min_rate=100))
        client = rig.ask(UNVERIFIED)
        for _ in range(60):
            client.send(b"x" * 200)
            rig.clock.advance(1.0)
        self.assertTrue(client.open)

    def test_burst_and_silence(self) -> None:
        """A burst buys an unverified body no time: it ends when little has come for ten seconds."""
        for drip in (b"", b"x"):
            rig = Rig(secured=True)
            client = rig.ask(UNVERIFIED + b"x" * 50000)
            for _ in range(23):
                if client.open and drip:
                    client.send(drip)
                rig.clock.advance(1.0)
            self.assertEqual(status(client.read()), 408)

    def test_verified_body(self) -> None:
        """A verified request's body needs no pace (live audio): it ends when nothing has come for a minute."""
        signed = query_envelope(auth()).encode()
        asks = (
            (Rig(secured=True), b"PUT /up?" + signed + b" HTTP/1.1\r\nHost: w\r\nTransfer-Encoding: chunked\r\n\r\n"),
            (Rig(), b"POST /up HTTP/1.1\r\nHost: w\r\nTransfer-Encoding: chunked\r\n\r\n"),
        )
        for rig, head_ in asks:
            client = rig.ask(head_ + b"3\r\nabc\r\n")
            for _ in range(3):
                rig.clock.pump([1.0] * 50)
                self.assertTrue(client.open)
                client.send(b"1\r\nx\r\n")
            rig.clock.pump([1.0] * 63)
            self.assertEqual(status(client.read()), 408)
            self.assertTrue(rig.settled())

    def test_our_pause_is_not_theirs(self) -> None:
        """A client that we do not read is not too slow."""
        rig = Rig(limits=Limits(body_min_rate=100))
        rig.backend.slow = True
        client = rig.ask(b"PUT / HTTP/1.1\r\nHost: w\r\nContent-Length: 200000\r\n\r\n" + b"x" * 70000)
        rig.clock.pump([1.0] * 60)
        rig.backend.accept()
        rig.clock.advance(1.0)
        self.assertTrue(client.open)


class Bounds(SynchronousTestCase):
    def test_large_head(self) -> None:
        """A head over the limit is 431, whether it ends or not."""
        for request in (
            b"GET / HTTP/1.1\r\nHost: w\r\nX: " + b"y" * 40000,
            b"GET / HTTP/1.1\r\nHost: w\r\nX: " + b"y" * 40000 + b"\r\n\r\n",
        ):
            client = Rig().ask(request)
            self.assertEqual(status(client.read()), 431)
            self.assertFalse(client.open)

    def test_ahead(self) -> None:
        """What a client sends ahead is kept up to 64 KiB; then it is cut, and the request at hand cancelled."""
        rig = Rig()
        client = rig.ask(GET)
        client.send(GET * 100)
        self.assertTrue(client.open)
        client.send(b"x" * 65536)
        self.assertTrue(client.aborted)
        self.assertEqual(rig.ledger.cancelled, 1)

    def test_pipelining_without_reading(self) -> None:
        """While answers cannot be written no further request is taken up, and the bound on what waits holds."""
        rig = Rig()
        client = rig.client()
        client.fill()
        client.send(b"GET /ping HTTP/1.1\r\nHost: w\r\n\r\n" * 10)
        self.assertEqual(client.read(), b"")
        client.drain()
        self.assertEqual(client.read().count(b"pong"), 10)

    def test_responses_in_one_turn(self) -> None:
        """Of what one client pipelines sixteen requests are answered in one turn, the rest in those that follow."""
        ping = b"GET /ping HTTP/1.1\r\nHost: w\r\n\r\n"
        unsigned = b"GET / HTTP/1.1\r\nHost: w\r\n\r\n"
        update = b"POST /pyworker/update HTTP/1.1\r\nHost: w\r\nContent-Length: 2\r\n\r\n{}"
        for request in (ping, unsigned, update):
            rig = Rig(secured=True, limits=Limits(pipeline_bytes=1000))
            client = rig.client()
            client.send(request * 100)
            answers = [client.read().count(b"HTTP/1.1 ")]
            while answers[-1]:
                turn(rig.clock)
                answers.append(client.read().count(b"HTTP/1.1 "))
            self.assertEqual(answers, [16, 16, 16, 16, 16, 16, 4, 0])
            self.assertTrue(client.open and not client.paused)

    def test_turns_and_a_slow_reader(self) -> None:
        """Where the client reads none of the responses, what is left for the next turn waits until it does."""
        rig = Rig()
        client = rig.client()
        client.send(b"GET /ping HTTP/1.1\r\nHost: w\r\n\r\n" * 40)
        client.fill()
        rig.clock.advance(0)
        self.assertEqual(client.read().count(b"pong"), 16)
        self.assertTrue(client.paused)
        client.drain()
        rig.clock.advance(0)
        self.assertEqual(client.read().count(b"pong"), 24)
        self.assertFalse(client.paused)

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

    def test_nothing_is_left(self) -> None:
        """Nothing of a connection is left in the server when it is over."""
        rig = Rig()
        client = rig.ask(GET)
        client.hang_up()
        self.assertEqual(len(rig.server.connections), 0)


class Responses(SynchronousTestCase):
    def test_refusal_keeps_the_connection(self) -> None:
        """A refused request whose body is at hand does not cost the connection."""
        rig = Rig(secured=True)
        client = rig.ask(post(b"nonsense"))
        self.assertEqual(status(client.read()), 422)
        client.send(b"GET /ping HTTP/1.1\r\nHost: w\r\n\r\n")
        self.assertIn(b"pong", client.read())
        self.assertTrue(client.open)

    def test_refusal_before_a_large_body(self) -> None:
        """A refusal that does not wait for a large body ends the connection, after the client could read it."""
        rig = Rig(secured=True)
        client = rig.ask(b"PUT /x?serverless_cost=1 HTTP/1.1\r\nHost: w\r\nContent-Length: 100000000\r\n\r\nabc")
        response = client.read()
        self.assertEqual(status(response), 422)
        self.assertIn(b"Connection: close\r\n", response)
        client.send(b"x" * 1000)
        self.assertTrue(client.open)
        rig.clock.pump([1.0] * 6)
        self.assertFalse(client.open)

    def test_refusal_within_a_read(self) -> None:
        """A client that was held back while its body was looked at is read on when that is refused."""
        rig = Rig(concurrency=1, max_queue=0)
        rig.ask(GET)
        client = rig.client()
        request = post(b"{" + b"x" * 100_000)
        client.send(request[:1000])
        client.send(request[1000:68_000])
        self.assertEqual((status(client.read()), client.paused), (429, False))
        client.send(request[68_000:] + GET)
        self.assertEqual(status(client.read()), 429)

    def test_continue(self) -> None:
        """100 Continue is sent when the body is wanted, not before, and not when the response is no."""
        rig = Rig()
        rig.backend.slow = True
        client = rig.ask(b"PUT / HTTP/1.1\r\nHost: w\r\nExpect: 100-continue\r\nContent-Length: 100000\r\n\r\n")
        self.assertEqual(client.read(), b"HTTP/1.1 100 Continue\r\n\r\n")
        rig = Rig(secured=True)
        client = rig.ask(
            b"PUT /?serverless_cost=x HTTP/1.1\r\nHost: w\r\nExpect: 100-continue\r\nContent-Length: 100000\r\n\r\n"
        )
        self.assertEqual(status(client.read()), 422)

    def test_options_star(self) -> None:
        """`OPTIONS *` is about us."""
        response = Rig().ask(b"OPTIONS * HTTP/1.1\r\nHost: w\r\n\r\n").read()
        self.assertEqual(status(response), 204)
        self.assertIn(b"Allow: GET", response)

    def test_options_star_with_a_body(self) -> None:
        """Whoever asks about us and waits for a word before the body gets it."""
        client = Rig().ask(b"OPTIONS * HTTP/1.1\r\nHost: w\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        self.assertEqual(client.read(), b"HTTP/1.1 100 Continue\r\n\r\n")
        client.send(b"ab")
        self.assertEqual(status(client.read()), 204)

    def test_one_response(self) -> None:
        """When the rest of a body never comes after the response, the connection ends without a second response."""
        rig = Rig(secured=True, limits=Limits(body_min_rate=100))
        client = rig.ask(b"PUT /?serverless_cost=1 HTTP/1.1\r\nHost: w\r\nContent-Length: 1000\r\n\r\nabc")
        rig.clock.pump([1.0] * 30)
        self.assertEqual(client.read().count(b"HTTP/1.1"), 1)
        self.assertFalse(client.open)

    def test_memory_of_names(self) -> None:
        """What is remembered of heads is bounded in number and in length."""
        client = Rig().client()
        for number in range(3000):
            name, token = b"X-%d-" % number + b"n" * 200, b"a%d" % number + b"c" * 200
            client.send(b"GET /ping HTTP/1.1\r\nHost: w\r\nConnection: %b\r\n%b: 1\r\n\r\n" % (token, name))
        self.assertTrue(all(len(name) <= 64 for name in fields.KINDS))
        self.assertTrue(all(len(value) <= 64 for value in message_head.CONNECTIONS))
        self.assertTrue(len(fields.LINES) <= 4096 and len(fields.KINDS) <= 2048)

    def test_every_split(self) -> None:
        """Wherever a request is cut in two, the backend sees the same."""
        request = post(b'{"a": 1}', b"/x?y=1") + b"GET /second HTTP/1.1\r\nHost: worker\r\n\r\n"
        seen = set()
        for cut in range(1, len(request)):
            rig = Rig()
            client = rig.ask(request[:cut])
            client.send(request[cut:])
            rig.backend.wire.send(OK)
            seen.add(rig.backend.wire.read().replace(rig.proxy.via.lines[1], b""))
        self.assertEqual(len(seen), 1)


class Draining(SynchronousTestCase):
    def test_drain(self) -> None:
        """Draining closes idle connections at once and busy ones after their response, and then is done."""
        rig = Rig()
        idle, busy = rig.client(), rig.ask(GET)
        drained = rig.server.drain()
        self.assertFalse(idle.open)
        self.assertTrue(busy.open)
        self.assertNoResult(drained)
        rig.backend.wire.send(OK)
        response = busy.read()
        self.assertIn(b"Connection: close\r\n", response)
        self.assertEqual(body(response), b"ok")
        self.successResultOf(drained)

    def test_blank_lines_ahead(self) -> None:
        """Blank lines that came behind the last request do not keep a connection open."""
        clock = TurnClock()
        rig = Rig(clock=clock)
        client = rig.ask(GET)
        clock.turn_end.flush()
        rig.backend.wire.send(b"HTTP/1.1 200 OK\r\n" + DATE + b"Content-Length: 2\r\n\r\nok")
        client.send(b"\r\n")
        rig.server.drain()
        clock.turn_end.flush()
        turn(clock)
        self.assertEqual((body(client.read()), client.open), (b"ok", False))

    def test_abort(self) -> None:
        """What is still there is cut, and its requests are cancelled."""
        rig = Rig()
        busy = rig.ask(GET)
        rig.server.abort()
        self.assertTrue(busy.aborted)
        self.assertTrue(rig.settled())


class SecureWire(Wire):
    """One side of a TLS connection."""

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Nothing waits here."""


class SecureStreams(SynchronousTestCase):
    """Under TLS the chunks of a stream leave at the end of the turn."""

    CHUNKED = b"HTTP/1.1 200 OK\r\n" + DATE + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n"

    def begin(self) -> tuple[Rig, TurnClock, Wire]:
        clock = TurnClock()
        rig = Rig(clock=clock)
        client = SecureWire()
        directlyProvides(client, ISSLTransport)
        client.attach(rig.server.buildProtocol(IPv4Address("TCP", "192.0.2.1", 40000)))
        client.send(GET)
        clock.turn_end.flush()
        rig.backend.wire.send(self.CHUNKED)
        self.assertEqual(client.read(), self.CHUNKED, "the beginning of a stream waits for nothing")
        return rig, clock, client

    def test_in_order(self) -> None:
        """Chunks, the last of them, and a response to what was sent ahead come out in this order."""
        rig, clock, client = self.begin()
        rig.backend.wire.send(b"1\r\nb\r\n")
        self.assertEqual(client.read(), b"")
        client.send(b"GET / HTTP/9.9\r\n\r\n")
        rig.backend.wire.send(b"1\r\nc\r\n0\r\n\r\n")
        self.assertEqual(client.read(), b"")
        clock.turn_end.flush()
        self.assertEqual(client.read(), b"1\r\nb\r\n1\r\nc\r\n0\r\n\r\n")
        clock.advance(0)
        self.assertEqual(status(client.read()), 505)
        self.assertTrue(rig.settled())

    def test_cut(self) -> None:
        """A stream that breaks is aborted, after what came of it is out."""
        rig, clock, client = self.begin()
        rig.backend.wire.send(b"1\r\nb\r\n")
        rig.backend.wire.lose(ConnectionLost())
        self.assertFalse(client.aborted)
        clock.turn_end.flush()
        self.assertEqual(client.read(), b"1\r\nb\r\n")
        clock.advance(0)
        self.assertTrue(client.aborted)
        self.assertTrue(rig.settled())
