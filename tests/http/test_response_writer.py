"""The responses of a server connection: their order, their framing, and when they are written."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IReactorTime, ISSLTransport
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import directlyProvides

from tests.processes import until
from tests.rig import DATE, GET, OK, Rig, TurnClock, Wire, post, status
from tests.system.peer import Peer, connect
from vespa.http.limits import Limits
from vespa.http.response_writer import STREAM
from vespa.http.server import Server
from vespa.protocol import fields, message_head
from vespa.protocol.connection_state import ServerState
from vespa.protocol.request_head import RequestHead


class Responses(SynchronousTestCase):
    def test_refusal_keeps_the_connection(self) -> None:
        """Refusing a request whose body has arrived keeps the connection open."""
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
        """`OPTIONS *` is answered by the proxy itself."""
        response = Rig().ask(b"OPTIONS * HTTP/1.1\r\nHost: w\r\n\r\n").read()
        self.assertEqual(status(response), 204)
        self.assertIn(b"Allow: GET", response)

    def test_options_star_with_a_body(self) -> None:
        """`OPTIONS *` with `Expect: 100-continue` gets 100 Continue."""
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
        """The number and the length of remembered heads are limited."""
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


class Dates(SynchronousTestCase):
    def test_every_response(self) -> None:
        """Answers of the backend that lack a Date, answers of our own, and refusals of all kinds have one."""
        rig = Rig()
        client = rig.ask(GET)
        rig.backend.wire.send(OK)
        responses = [client.read()]
        for request in (
            GET.replace(b"GET / ", b"GET /ping "),
            b"OPTIONS * HTTP/1.1\r\nHost: w\r\n\r\n",
            b"BREW / HTTP/1.1\r\n\r\n",
            b"\x16\x03\x01\r\n\r\n",
            GET.replace(b"Host", b"X"),
            b"POST /pyworker/update HTTP/1.1\r\nHost: w\r\nContent-Length: 0\r\n\r\n",
        ):
            responses.append(rig.ask(request).read())
        full = Rig(limits=Limits(connections=1))
        full.ask(GET)  # an idle one would make room
        responses.append(full.client().read())
        for response in responses:
            self.assertEqual(response.partition(b"\r\n\r\n")[0].lower().count(b"\r\ndate: "), 1, response)

    def test_the_backends_own(self) -> None:
        """Its Date stays, in its spelling."""
        rig = Rig()
        client = rig.ask(GET)
        rig.backend.wire.send(OK.replace(b"\r\n", b"\r\ndate: Tue, 15 Nov 1994 08:12:31 GMT\r\n", 1))
        response = client.read()
        self.assertIn(b"\r\ndate: Tue, 15 Nov 1994 08:12:31 GMT\r\n", response)
        self.assertNotIn(b"Date", response)

    def test_goes_on(self) -> None:
        """It is the time of the response."""
        rig = Rig()
        self.assertEqual(rig.server.date(), DATE)
        self.assertIs(rig.server.date(), rig.server.date())
        rig.clock.advance(61)
        self.assertEqual(rig.server.date(), DATE.replace(b"22:13:20", b"22:14:21"))


class RealTransports(TestCase):
    async def begin(self, limits: Limits | None = None) -> tuple[Peer, Any]:
        """A client, and its connection at a server, where a response ends with the connection."""
        connection: Any = None

        def application(client: Any, head: RequestHead) -> Any:
            nonlocal connection
            connection = client
            return SimpleNamespace(
                receive=lambda *data: None,
                hang_up=lambda: None,
                pause=lambda: None,
                resume=lambda: None,
                verified=True,
                held_bytes=lambda _: 0,
            )

        server = Server(application, cast(IReactorTime, reactor), limits)
        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(server)
        self.addCleanup(port.stopListening)
        peer = await connect(TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port))
        peer.asked.append((b"GET", 0))
        peer.more(b"GET / HTTP/1.0\r\n\r\n")
        await until(lambda: connection is not None)
        connection.start(200, b"", STREAM)
        return peer, connection

    async def test_last_bytes_of_a_slow_client(self) -> None:
        """What ends a truncated response arrives, also if the client's system has no room for it yet."""
        peer, connection = await self.begin()
        peer.transport.pauseProducing()
        connection.write(b"x" * 200_000)  # in the kernel
        connection.truncate(b"last")
        for _ in range(50):
            await deferLater(reactor, 0, lambda: None)
        peer.transport.resumeProducing()
        await until(lambda: peer.lost)
        self.assertFalse(peer.clean)
        self.assertTrue(peer.raw.endswith(b"last"), len(peer.raw))

    async def test_client_that_does_not_read(self) -> None:
        """A client that never has room for them is not waited for long."""
        peer, connection = await self.begin(Limits(linger_seconds=1.0))
        peer.transport.pauseProducing()
        connection.write(b"x" * 4_000_000)
        connection.truncate(b"last")
        await until(lambda: connection.state is ServerState.CLOSED, 10.0)
        peer.transport.resumeProducing()
        await until(lambda: peer.lost)
        self.assertFalse(peer.raw.endswith(b"last"))

    async def test_truncated_at_once(self) -> None:
        """Over Twisted's own TCP, which writes after a turn's calls, a cut is seen within a few turns of the reactor.

        The tick, which comes once a second, would see to it too.
        """
        peer, connection = await self.begin()
        connection.write(b"hello")
        connection.truncate()
        for _ in range(50):
            await deferLater(reactor, 0, lambda: None)
        self.assertTrue(peer.raw.endswith(b"hello"), peer.raw)
        self.assertTrue(peer.lost)
        self.assertFalse(peer.clean)
