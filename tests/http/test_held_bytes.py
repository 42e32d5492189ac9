"""The bytes held for all connections: each kind is counted, limited and released."""

from __future__ import annotations

from typing import Any

from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.rig import DATE, GET, OK, Rig, post, status
from tests.transport.tls_peer import reactor, until
from tests.worker.requests import auth, envelope
from vespa.http.held_bytes import HeldBytes, keep
from vespa.http.limits import Limits
from vespa.http.response_writer import STREAM
from vespa.http.server import Application, Server
from vespa.http.server_connection import ServerConnection
from vespa.protocol.refusal import Refusal
from vespa.protocol.request_head import RequestHead
from vespa.simulator.signing import query_envelope
from vespa.transport.listen import parse

SIGNED = query_envelope(auth()).encode()
BODY = b"x" * 40000
BOUND = Limits(held_bytes=100_000)


class Counted(HeldBytes):
    """Counts how often it is told of a change."""

    changes = 0

    def change(self, more: int, more_unverified: int) -> None:
        self.changes += 1
        super().change(more, more_unverified)


class Relayed(SynchronousTestCase):
    def test_not_with_each_read(self) -> None:
        """A body that is sent on as it comes is counted when it begins to be, and no more until somebody is slow."""
        payload = b'"' + b"y" * 500_000
        whole = envelope(payload + b'"')
        for request in (
            b"POST /?%b HTTP/1.1\r\nHost: w\r\nContent-Length: 500000\r\n\r\n" % SIGNED,
            post(whole)[:70000],
        ):
            rig = Rig(secured=True)
            held = rig.server.held = Counted(1 << 20, 1 << 20)
            client = rig.ask(request)
            client.send(b"y" * 1000)
            self.assertEqual(held.unverified, 0)
            before, held.changes = held.total, 0
            for _ in range(20):
                client.send(b"y" * 1000)
            self.assertEqual((held.changes, held.total), (0, before))
            rig.backend.wire.fill()
            self.assertGreater(held.changes, 0)
            client.lose(ConnectionDone())
            self.assertEqual((held.total, held.unverified), (0, 0))

    def test_the_next_body(self) -> None:
        """A body that was sent on as it came does not hide what is held of the one behind it."""
        rig = Rig()
        client = rig.client()
        for part in (b"x" * 60_000, b"x" * 60_000):
            client.send(part if rig.backend.wires else post(b"x" * 120_000)[:-120_000] + part)
        rig.backend.wire.send(b"HTTP/1.1 200 OK\r\n" + DATE + b"Content-Length: 0\r\n\r\n")
        self.assertEqual(rig.server.held.total, 0)
        client.send(post(b'{"a": "' + b"y" * 50_000)[:-10_000])
        self.assertGreater(rig.server.held.total, 40_000)
        client.lose(ConnectionDone())
        self.assertEqual(rig.server.held.total, 0)


class Unverified(SynchronousTestCase):
    def test_bodies(self) -> None:
        """Bodies that are not verified yet share one bound; the newest over it is refused, and the others go on."""
        rig = Rig(secured=True, limits=Limits(unverified_bytes=100_000))
        whole = envelope(b'"' + BODY + b'"')
        clients = [rig.ask(post(whole)[:40000]) for _ in range(3)]
        response = clients[2].read()
        self.assertEqual(status(response), 503)
        self.assertIn(b"too_much_unverified", response)
        for client in clients[:2]:
            client.send(post(whole)[40000:])
        self.assertEqual(len(rig.verified), 2)
        self.assertEqual(rig.server.held.unverified, 0)
        self.assertEqual(rig.ask(post(whole)[:40000]).read(), b"")

    def test_in_any_order(self) -> None:
        """The same for bodies whose payload comes first."""
        rig = Rig(secured=True, limits=Limits(unverified_bytes=500_000))
        head = b'POST / HTTP/1.1\r\nHost: w\r\nContent-Length: 900000\r\n\r\n{"payload": "'
        clients = [rig.ask(head) for _ in range(2)]
        for _ in range(10):
            for client in clients:
                client.send(BODY)
        responses = [client.read() for client in clients]
        self.assertEqual([status(response) if response else 0 for response in responses], [503, 0])
        self.assertTrue(rig.server.held.unverified <= 500_000)

    def test_heads(self) -> None:
        """Parts of heads count as well."""
        rig = Rig(limits=Limits(unverified_bytes=50_000))
        clients = [rig.ask(b"GET / HTTP/1.1\r\nHost: w\r\nX: " + b"y" * 20000) for _ in range(3)]
        self.assertEqual([client.open for client in clients], [True, True, False])
        self.assertEqual(status(clients[2].read()), 503)
        for client in clients[:2]:
            client.hang_up()
        self.assertEqual((rig.server.held.total, rig.server.held.unverified), (0, 0))

    def test_own_routes(self) -> None:
        """The same for bodies of our own routes, which need no signature."""
        rig = Rig(limits=Limits(unverified_bytes=100_000))
        start = b"POST /pyworker/update HTTP/1.1\r\nHost: w\r\nContent-Length: 60000\r\n\r\n" + BODY
        clients = [rig.ask(start) for _ in range(3)]
        self.assertEqual(status(clients[2].read()), 503)
        self.assertEqual(rig.server.held.unverified, 80_000)


class Verified(SynchronousTestCase):
    def test_queue(self) -> None:
        """Bodies of those that wait for a slot are bounded together; the newest is refused."""
        rig = Rig(concurrency=1, limits=BOUND)
        rig.ask(GET)
        clients = [rig.ask(post(BODY)) for _ in range(3)]
        response = clients[2].read()
        self.assertEqual(status(response), 503)
        self.assertIn(b"too_much_held", response)
        self.assertEqual(rig.gate.waiting, 2)
        for _ in range(3):
            rig.backend.wire.read()
            rig.backend.wire.send(OK)
        self.assertTrue(rig.settled())
        for client in clients[:2]:
            self.assertEqual(status(client.read()), 200)
        rig.clock.advance(1.0)
        self.assertEqual(rig.server.held.total, 0)

    def test_connecting(self) -> None:
        """The same for bodies whose connection is being opened."""
        rig = Rig(limits=BOUND)
        rig.backend.slow = True
        clients = [rig.ask(post(BODY)) for _ in range(3)]
        self.assertEqual(status(clients[2].read()), 503)
        self.assertEqual(rig.gate.working, 2)
        rig.backend.accept()
        self.assertEqual(len(rig.backend.open), 2)

    def test_second_attempts(self) -> None:
        """Bytes kept for a retry are dropped before a request is refused."""
        rig = Rig(limits=BOUND)
        clients = [rig.ask(post(BODY)) for _ in range(5)]
        self.assertEqual([client.read() for client in clients], [b""] * 5)
        self.assertTrue(rig.server.held.total <= 100_000)
        for wire in rig.backend.wires:
            wire.send(OK)
        self.assertEqual([status(client.read()) for client in clients], [200] * 5)
        rig.clock.advance(1.0)
        self.assertEqual(rig.server.held.total, 0)

    def test_pipelined(self) -> None:
        """Pipelined bytes of all connections share one limit."""
        rig = Rig(limits=BOUND)
        clients = [rig.ask(GET) for _ in range(3)]
        for client in clients:
            client.send(GET + BODY)
        self.assertEqual([client.open for client in clients], [True, True, False])
        self.assertTrue(rig.server.held.total <= 100_000)

    def test_large_heads(self) -> None:
        """A request under way holds its head: large ones are counted."""
        rig = Rig(limits=Limits(held_bytes=70_000))
        large = b"GET / HTTP/1.1\r\nHost: w\r\nX: " + b"y" * 30000 + b"\r\n\r\n"
        clients = [rig.ask(large) for _ in range(4)]
        responses = [client.read() for client in clients]
        self.assertEqual([status(response) if response else 0 for response in responses], [0, 0, 503, 503])
        self.assertEqual(len(rig.backend.wires), 2)

    def test_pieces(self) -> None:
        """A body that comes byte by byte is not kept as an object for each byte."""
        pieces: list[bytes] = []
        for number in range(20000):
            keep(pieces, b"%d" % (number % 10))
        self.assertEqual(len(b"".join(pieces)), 20000)
        self.assertTrue(len(pieces) <= 10)
        self.assertEqual(b"".join(pieces)[:12], b"012345678901")


class _Endless:
    """Answers with as much as the client takes, as a backend does."""

    verified = True

    def __init__(self, client: ServerConnection, head: RequestHead) -> None:
        self._client: ServerConnection | None = client
        self._paused = False

    def receive(self, data: bytes, complete: bool) -> None:
        if complete and self._client is not None:
            self._client.start(200, b"", STREAM)
            self.resume()

    def resume(self) -> None:
        self._paused = False
        while not self._paused and self._client is not None:
            self._client.write(bytes(65536))

    def pause(self) -> None:
        self._paused = True

    def hang_up(self, refusal: Refusal | None = None) -> bytes | None:
        """It left."""
        self._client = None
        return None

    def held_bytes(self, received: int) -> int:
        return 0

    def drop_replay(self) -> None:
        """There is nothing to let go of."""


class _Ending(_Endless):
    """The same with an end of its own, as an event stream has."""

    def hang_up(self, refusal: Refusal | None = None) -> bytes:
        """It left, or the server stops."""
        super().hang_up(refusal)
        return b"3\r\nend\r\n"


class SlowReaders(TestCase):
    timeout = 20

    async def test_cut(self) -> None:
        """Bytes for clients that do not read share one limit; the newest connection over it is cut."""
        asked: list[RequestHead] = []

        def application(client: ServerConnection, head: RequestHead) -> _Endless:
            asked.append(head)
            return _Endless(client, head)

        server = Server(application, reactor, Limits(held_bytes=300_000))
        port: Any = await parse(reactor, "tcp:0:interface=127.0.0.1").listen(server)
        self.addCleanup(port.stopListening)
        self.addCleanup(lambda: until(lambda: not server.connections))
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port)
        clients: list[Any] = []
        for _ in range(6):
            client = await connectProtocol(endpoint, Protocol())
            clients.append(client)
            self.addCleanup(client.transport.abortConnection)
            client.transport.pauseProducing()
            client.transport.write(GET)
            await until(lambda: len(asked) == len(clients))
        await until(lambda: server.held.total <= 300_000)
        self.assertTrue(2 <= len(server.connections) <= 4)
        for client in clients:
            client.transport.abortConnection()
        await until(lambda: not server.connections)
        self.assertEqual(server.held.total, 0)

    async def stalled(self, application: Application, clock: Clock) -> Server:
        """A server with one client, which reads nothing of a response that has begun."""
        server = Server(application, clock)
        port: Any = await parse(reactor, "tcp:0:interface=127.0.0.1").listen(server)
        self.addCleanup(port.stopListening)
        self.addCleanup(lambda: until(lambda: not server.connections))
        client: Any = await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port), Protocol())
        self.addCleanup(client.transport.abortConnection)
        client.transport.pauseProducing()
        client.transport.write(GET)
        await until(lambda: server.held.total)
        return server

    async def test_stalled(self) -> None:
        """One that takes nothing for a minute is cut."""
        clock = Clock()
        server = await self.stalled(_Endless, clock)
        clock.pump([1.0] * 58)
        self.assertEqual(len(server.connections), 1)
        clock.pump([1.0] * 5)
        await until(lambda: not server.connections)

    async def test_stalled_at_the_end(self) -> None:
        """So is one that takes nothing when the server stops, although last bytes wait for it."""
        clock = Clock()
        server = await self.stalled(_Ending, clock)
        server.abort(Refusal(503, "draining", "the server stops"))
        self.assertEqual((len(server.connections), server.held.total > 0), (1, True))
        clock.pump([1.0] * 63)
        await until(lambda: not server.connections)
        self.assertEqual(server.held.total, 0)
