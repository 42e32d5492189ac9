"""Large bodies moved by the kernel, over real sockets: every byte arrives, and every end is told."""

from __future__ import annotations

import os
from hashlib import sha256
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from tests.contract.subject import start
from vespa.transport import splice
from vespa.transport.sockets import hung_up

BLOCK = bytes(range(256)) * 256
SIZE = 200 * len(BLOCK)  # 13 MB: more than all the buffers on the way hold


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
        self.left = 200
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
        worker = await start(self, port.getHost().port)
        client: Uploader = await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", worker), Uploader())
        self.addCleanup(client.transport.loseConnection)
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
            self.assertTrue(client.received.endswith(sha256(BLOCK * 200).hexdigest().encode()))
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
        body = BLOCK * 200
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
        self.assertTrue(client.received.endswith(sha256(BLOCK * 200).hexdigest().encode()))

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


class Splicing(TestCase):
    timeout = 60

    async def open(self, **source: Any) -> tuple[Client, list[Source]]:
        """A client of a worker before a source of this kind, its request sent."""
        factory = Factory.forProtocol(type("Source", (Source,), source))
        factory.made = []  # type: ignore[attr-defined]
        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)
        self.addCleanup(port.stopListening)
        worker = await start(self, port.getHost().port)
        client: Client = await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", worker), Client())
        self.addCleanup(client.transport.loseConnection)
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
        self.assertEqual(client.digest.digest(), sha256(BLOCK * 200).digest())
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
        self.assertEqual(client.digest.digest(), sha256(BLOCK * 200).digest())

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
