"""Large bodies moved by the kernel, over real sockets: every byte arrives, and every end is told."""

from __future__ import annotations

import os
import socket
from hashlib import sha256
from typing import Any
from unittest import skipUnless

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, connectProtocol
from twisted.internet.main import CONNECTION_LOST
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.contract.subject import start
from vespa.transport import splice
from vespa.transport.sockets import hung_up

BLOCK = bytes(range(256)) * 256
BLOCKS = 300
SIZE = BLOCKS * len(BLOCK)  # 20 MB: more than all the buffers on the way hold, if those at its ends are small
SMALL_BUFFER = 65536
"""
Bytes. Linux lets a buffer whose size nobody chose grow to tens of megabytes, the more the slower the machine is.
"""


class Source(Protocol):
    """Answers any request with a head that promises SIZE bytes, and then with as many as it is told to send."""

    transport: Any

    total = SIZE
    cut = False

    def connectionMade(self) -> None:
        self.sent = 0
        self.lost: Deferred[None] = Deferred()
        self.factory.made.append(self)

    def dataReceived(self, data: bytes) -> None:
        self.sent = 0
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE)
        self.transport.registerProducer(self, False)

    def resumeProducing(self) -> None:
        if self.sent < self.total:
            self.sent += len(BLOCK)
            self.transport.write(BLOCK)
            return
        self.transport.unregisterProducer()
        if self.cut:
            self.transport.loseConnection()

    def stopProducing(self) -> None:
        pass

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.callback(None)


class Client(Protocol):
    """Reads one response; `done` fires with its body at its end, or at the connection's."""

    transport: Any

    def connectionMade(self) -> None:
        self.head = b""
        self.size = 0
        self.digest = sha256()
        self.done: Deferred[int] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        if b"\r\n\r\n" not in self.head:
            self.head += data
            if b"\r\n\r\n" not in self.head:
                return
            data = self.head.partition(b"\r\n\r\n")[2]
        self.size += len(data)
        self.digest.update(data)
        if self.size >= SIZE and not self.done.called:
            self.done.callback(self.size)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self.done.called:
            self.done.callback(self.size)


class Drain(Protocol):
    """
    Takes one upload of SIZE bytes and answers with its digest.

    `early`: it answers when so much of it came. `deaf`: it stops reading when the first head has come, and fires this.
    """

    transport: Any

    early = 0
    deaf: Deferred[None] | None = None

    def connectionMade(self) -> None:
        self.head = b""
        self.size = 0
        self.digest = sha256()
        self.lost: Deferred[None] = Deferred()
        self.factory.made.append(self)

    def dataReceived(self, data: bytes) -> None:
        if b"\r\n\r\n" not in self.head:
            self.head += data
            data = self.head.partition(b"\r\n\r\n")[2]
            deaf, self.deaf = self.deaf, None
            if deaf is not None:
                self.transport.pauseProducing()
                deaf.callback(None)
        self.size += len(data)
        self.digest.update(data)
        if self.size >= (self.early or SIZE) and b"smuggled" not in self.head:
            response = self.digest.hexdigest().encode()
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 64\r\n\r\n" + response)
            self.head, self.size, self.digest = b"", 0, sha256()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.callback(None)


class Uploader(Protocol):
    """Sends one upload and keeps what comes back."""

    transport: Any

    def connectionMade(self) -> None:
        self.received = b""
        self.lost: Deferred[None] = Deferred()

    def upload(self) -> None:
        self.received = b""
        self.left = BLOCKS
        self.answered: Deferred[None] = Deferred()
        self.transport.write(b"PUT / HTTP/1.1\r\nHost: w\r\nContent-Length: %d\r\n\r\n" % SIZE)
        self.transport.registerProducer(self, False)

    def resumeProducing(self) -> None:
        if self.left:
            self.left -= 1
            self.transport.write(BLOCK)
        else:
            self.transport.unregisterProducer()

    def stopProducing(self) -> None:
        pass

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        if len(self.received.partition(b"\r\n\r\n")[2]) >= 64 and not self.answered.called:
            self.answered.callback(None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.callback(None)


class Uploading(TestCase):
    timeout = 60

    async def open(self, **drain: Any) -> tuple[Uploader, list[Drain], list[tuple[int, int]]]:
        """A client of a worker before such a drain, and the pipes that are made."""
        pipes: list[tuple[int, int]] = []
        new_pipe = splice.new_pipe

        def noted() -> tuple[int, int]:
            pipes.append(new_pipe())
            return pipes[-1]

        self.patch(splice, "new_pipe", noted)
        factory = Factory.forProtocol(type("Drain", (Drain,), drain))
        factory.made = []  # type: ignore[attr-defined]
        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)
        self.addCleanup(port.stopListening)
        port.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)  # also of what it accepts
        worker = await start(self, port.getHost().port)
        client: Uploader = await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", worker), Uploader())
        self.addCleanup(client.transport.loseConnection)
        client.transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)
        client.upload()
        return client, factory.made, pipes  # type: ignore[attr-defined]

    def assert_closed(self, pipes: list[tuple[int, int]]) -> None:
        for pipe in pipes:
            for end in pipe:
                self.assertRaises(OSError, os.fstat, end)

    async def test_every_byte(self) -> None:
        """A large upload arrives whole, through the kernel, and the connections serve the next one."""
        client, made, pipes = await self.open()
        for number in (1, 2):
            await client.answered
            self.assertTrue(client.received.endswith(sha256(BLOCK * BLOCKS).hexdigest().encode()))
            self.assertEqual((len(made), len(pipes)), (1, number))
            self.assert_closed(pipes)
            if number == 1:
                client.upload()

    async def test_what_is_read_already(self) -> None:
        """A body of which a part came with its head is moved to its last byte, and not one further."""
        client, made, _ = await self.open()
        await client.answered
        client.received = b""
        client.answered = Deferred()
        head = b"DELETE / HTTP/1.1\r\nHost: w\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n" % SIZE
        body = BLOCK * BLOCKS
        client.transport.write(head + body[:1000])
        await deferLater(reactor, 0.05)
        client.transport.write(body[1000:] + b"GET /smuggled HTTP/1.1\r\nHost: w\r\n\r\n")
        while b"HTTP/1.1 200" not in client.received:
            await deferLater(reactor, 0.01)
        self.assertIn(sha256(body).hexdigest().encode(), client.received)
        while b"/smuggled" not in made[0].head:
            await deferLater(reactor, 0.01)
        self.assertIn(b"X-Forwarded-For", made[0].head)  # it came over HTTP

    async def test_slow_backend(self) -> None:
        """A backend that pauses gets every byte all the same, and the client is held back meanwhile."""
        deaf: Deferred[None] = Deferred()
        client, made, _ = await self.open(deaf=deaf)
        await deaf
        for _ in range(50):
            await deferLater(reactor, 0.01)
        self.assertGreater(client.left, 0)
        made[0].transport.resumeProducing()
        await client.answered
        self.assertTrue(client.received.endswith(sha256(BLOCK * BLOCKS).hexdigest().encode()))

    async def test_early_response(self) -> None:
        """A backend that answers before the end: the client gets the response, and both connections end."""
        client, made, pipes = await self.open(early=100 * len(BLOCK))
        await client.answered
        self.assertIn(b"Connection: close\r\n", client.received)
        await made[0].lost
        await client.lost
        self.assert_closed(pipes)

    async def test_client_leaves(self) -> None:
        """A client that leaves in the middle cuts the backend off: at the beginning, or when the pipe is full."""
        for turns in (0, 20):
            deaf: Deferred[None] = Deferred()
            client, made, pipes = await self.open(deaf=deaf)
            await deaf
            self.assertEqual(len(pipes), 1)
            for _ in range(turns):
                await deferLater(reactor, 0.01)
            client.transport.abortConnection()
            made[0].transport.resumeProducing()
            await made[0].lost
            self.assertLess(made[0].size, SIZE)
            self.assert_closed(pipes)

    async def test_client_leaves_a_deaf_backend(self) -> None:
        """A client that leaves cuts the backend off even if it never reads again, so that nothing moves."""
        deaf: Deferred[None] = Deferred()
        client, made, pipes = await self.open(deaf=deaf)
        await deaf
        for _ in range(20):
            await deferLater(reactor, 0.01)
        client.transport.abortConnection()
        while not hung_up(made[0].transport):
            await deferLater(reactor, 0.01)
        self.assert_closed(pipes)
        made[0].transport.resumeProducing()
        await made[0].lost
        self.assertLess(made[0].size, SIZE)

    async def test_backend_dies(self) -> None:
        """A backend that ends within the request: the client gets 502."""
        deaf: Deferred[None] = Deferred()
        client, made, pipes = await self.open(deaf=deaf)
        await deaf
        self.assertEqual(len(pipes), 1)
        made[0].transport.abortConnection()
        await client.lost
        self.assertIn(b" 502 ", client.received[:20])
        self.assert_closed(pipes)


class End:
    """One side of a transfer: a socket, and what the reactor would watch it for."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.socket = sock
        self.fileno = sock.fileno
        self.reads = True
        self.writes = False

    doRead: Any = None
    doWrite: Any = None

    def startReading(self) -> None:
        self.reads = True

    def stopReading(self) -> None:
        self.reads = False

    def startWriting(self) -> None:
        self.writes = True

    def stopWriting(self) -> None:
        self.writes = False


@skipUnless(hasattr(os, "splice"), "this system has no splice")
class Transfer(SynchronousTestCase):
    """A `Splice` between two sockets, moved by hand: every order of events, whatever the kernel's buffers are."""

    def setUp(self) -> None:
        self.giver, given = socket.socketpair()
        taken, self.taker = socket.socketpair()
        for each in (self.giver, given, taken, self.taker):
            self.addCleanup(each.close)
            each.setblocking(False)
        self.source, self.sink = End(given), End(taken)
        self.done: list[None] = []

    def splice(self, left: int) -> splice.Splice:
        made = splice.Splice(self.source, self.sink, left, lambda: self.done.append(None))
        self.addCleanup(made.stop)
        return made

    def fill_sink(self) -> int:
        """Leave no room in the sink; the number of bytes that wait there."""
        waiting = 0
        while True:
            try:
                waiting += self.sink.socket.send(BLOCK)
            except BlockingIOError:
                return waiting

    def take(self, size: int) -> bytes:
        """Read so many bytes."""
        taken = b""
        while len(taken) < size:
            taken += self.taker.recv(size - len(taken))
        return taken

    def test_whole(self) -> None:
        """The bytes are moved in order, not one more than is wanted, and the transports are as before."""
        moving = self.splice(6)
        self.giver.send(b"abcdefgh")
        self.assertIsNone(self.source.doRead())
        self.assertEqual((len(self.done), moving.moved, moving.in_pipe), (1, 6, 0))
        self.assertEqual((self.taker.recv(10), self.source.socket.recv(10)), (b"abcdef", b"gh"))
        self.assertEqual((self.source.reads, self.sink.writes), (True, False))
        self.assertEqual((self.source.doRead, self.sink.doWrite), (None, None))

    def test_nothing_there(self) -> None:
        """An event without bytes changes nothing."""
        self.splice(6)
        self.assertIsNone(self.source.doRead())
        self.assertEqual((self.source.reads, self.sink.writes), (True, False))

    def test_full_sink(self) -> None:
        """While the sink has no room the source is not read; when the pipe is empty, reading goes on."""
        waiting = self.fill_sink()
        moving = self.splice(1 << 20)
        self.giver.send(b"abc")
        self.source.doRead()
        self.assertEqual((self.source.reads, self.sink.writes, moving.in_pipe), (False, True, 3))
        self.assertIsNone(self.sink.doWrite())
        self.assertEqual((self.source.reads, self.sink.writes, moving.in_pipe), (False, True, 3))
        self.take(waiting)
        self.assertIsNone(self.sink.doWrite())
        self.assertEqual((self.source.reads, self.sink.writes, moving.in_pipe), (True, False, 0))
        self.assertEqual((self.take(3), self.done), (b"abc", []))

    def test_last_bytes(self) -> None:
        """If the last bytes wait in the pipe, the transfer is done when they have left it."""
        waiting = self.fill_sink()
        self.splice(3)
        self.giver.send(b"abc")
        self.source.doRead()
        self.assertEqual(self.done, [])
        self.take(waiting)
        self.sink.doWrite()
        self.assertEqual((len(self.done), self.source.reads, self.take(3)), (1, True, b"abc"))

    def test_early_end(self) -> None:
        """The end of the source is told at once if nothing waits in the pipe; otherwise when all of it has left."""
        self.splice(9)
        self.giver.close()
        self.assertIs(self.source.doRead(), CONNECTION_LOST)

    def test_early_end_with_bytes(self) -> None:
        """Bytes before the end of the source still reach the sink."""
        waiting = self.fill_sink()
        self.splice(9)
        self.giver.send(b"abc")
        self.source.doRead()
        self.giver.close()
        self.assertIsNone(self.source.doRead())
        self.assertEqual((self.source.reads, self.sink.writes), (False, True))
        self.take(waiting)
        self.assertIsNone(self.sink.doWrite())
        self.assertTrue(self.source.reads)
        self.assertIs(self.source.doRead(), CONNECTION_LOST)
        self.assertEqual((self.take(3), self.done), (b"abc", []))

    def test_sink_lost(self) -> None:
        """A sink that has gone is told to the reactor when it writes, and the pipe is closed once."""
        moving = self.splice(9)
        count = splice.Pipes.count
        self.giver.send(b"abc")
        self.taker.close()
        self.assertIsNone(self.source.doRead())
        self.assertTrue(self.sink.writes)
        self.assertIs(self.sink.doWrite(), CONNECTION_LOST)
        moving.stop()
        moving.stop()
        self.assertEqual((splice.Pipes.count, self.done), (count - 1, []))

    def test_closed_here(self) -> None:
        """A side that was closed meanwhile has no descriptor."""
        self.splice(9)
        self.source.fileno = self.sink.fileno = lambda: -1
        self.assertIs(self.source.doRead(), CONNECTION_LOST)

    def test_too_many(self) -> None:
        """Without a descriptor for a pipe the body goes on without one."""
        self.patch(splice.Pipes, "most", splice.Pipes.count)
        self.assertRaises(OSError, self.splice, 9)
        self.patch(splice, "can_splice", lambda source, sink: True)
        made = splice.splice_if_large(self.source, self.sink, splice.LEAST_BYTES, lambda: None)
        self.assertIsNone(made)
        self.assertEqual((self.source.doRead, self.sink.doWrite), (None, None))


class Splicing(TestCase):
    timeout = 60

    async def open(self, **source: Any) -> tuple[Client, list[Source]]:
        """A client of a worker before a source of this kind, its request sent."""
        factory = Factory.forProtocol(type("Source", (Source,), source))
        factory.made = []  # type: ignore[attr-defined]
        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)
        self.addCleanup(port.stopListening)
        port.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)  # also of what it accepts
        worker = await start(self, port.getHost().port)
        client: Client = await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", worker), Client())
        self.addCleanup(client.transport.loseConnection)
        client.transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        client.transport.write(b"GET / HTTP/1.1\r\nHost: w\r\n\r\n")
        return client, factory.made  # type: ignore[attr-defined]

    async def test_every_byte(self) -> None:
        """A large response arrives whole, through the kernel, and the connections serve the next request."""
        pipes: list[tuple[int, int]] = []
        new_pipe = splice.new_pipe

        def noted() -> tuple[int, int]:
            pipes.append(new_pipe())
            return pipes[-1]

        self.patch(splice, "new_pipe", noted)
        client, made = await self.open()
        self.assertEqual(await client.done, SIZE)
        self.assertEqual(client.digest.digest(), sha256(BLOCK * BLOCKS).digest())
        self.assertEqual(len(pipes), 1)
        for end in pipes[0]:
            self.assertRaises(OSError, os.fstat, end)
        client.connectionMade()
        client.transport.write(b"GET / HTTP/1.1\r\nHost: w\r\n\r\n")
        self.assertEqual(await client.done, SIZE)
        self.assertEqual(len(made), 1)

    async def test_slow_reader(self) -> None:
        """A client that pauses gets every byte all the same, and the backend is held back meanwhile."""
        client, made = await self.open()
        client.transport.pauseProducing()
        while not (made and made[0].sent):
            await deferLater(reactor, 0.01)
        for _ in range(50):
            await deferLater(reactor, 0.01)
        self.assertLess(made[0].sent, SIZE)
        client.transport.resumeProducing()
        self.assertEqual(await client.done, SIZE)
        self.assertEqual(client.digest.digest(), sha256(BLOCK * BLOCKS).digest())

    async def test_source_dies(self) -> None:
        """A backend that dies in the middle: all that it sent arrives, and the client sees that it is not whole."""
        client, _ = await self.open(total=100 * len(BLOCK), cut=True)
        self.assertEqual(await client.done, 100 * len(BLOCK))

    async def test_client_leaves(self) -> None:
        """A client that leaves cuts the backend off."""
        client, made = await self.open()
        client.transport.pauseProducing()
        while not (made and made[0].sent):
            await deferLater(reactor, 0.01)
        client.transport.abortConnection()
        await made[0].lost
        self.assertLess(made[0].sent, SIZE)
