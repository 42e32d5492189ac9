"""Large bodies moved by the kernel, over real sockets: every byte arrives, and every end is told."""

from __future__ import annotations

import os
from hashlib import sha256
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tests.contract.subject import start
from vespa.http import splice

BLOCK = bytes(range(256)) * 256
SIZE = 200 * len(BLOCK)  # 13 MB: more than all the buffers on the way hold


class Source(Protocol):
    """Answers any request with a head that promises SIZE bytes, and then with as many as it is told to send."""

    total = SIZE
    cut = False

    def connectionMade(self) -> None:
        self.sent = 0
        self.lost: Deferred[None] = Deferred()
        self.factory.made.append(self)  # type: ignore[union-attr]

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

    def connectionLost(self, reason: Any) -> None:
        self.lost.callback(None)


class Client(Protocol):
    """Reads one reply; `done` fires with its body at its end, or at the connection's."""

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

    def connectionLost(self, reason: Any) -> None:
        if not self.done.called:
            self.done.callback(self.size)


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
        """A large reply arrives whole, through the kernel, and the connections serve the next request."""
        pipes: list[tuple[int, int]] = []
        new_pipe = splice._new_pipe
        self.patch(splice, "_new_pipe", lambda: pipes.append(new_pipe()) or pipes[-1])
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
        while not made:
            await deferLater(reactor, 0.01)
        client.transport.abortConnection()
        await made[0].lost
        self.assertLess(made[0].sent, SIZE)
