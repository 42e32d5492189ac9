"""Tests of the simulator on loopback: `vespa.simulator.serving`, and what only a real connection shows."""

from __future__ import annotations

import zlib
from collections.abc import Callable

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, connectProtocol
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tests.simulator_support.backend import PIECE, ControlledBackend
from tests.simulator_support.wire import Wire
from vespa.simulator.serving import Served, serve


class ServingTests(TestCase):
    timeout = 20

    async def serve(self) -> tuple[ControlledBackend, Served]:
        backend = ControlledBackend(reactor, tokens_per_second=1000.0)
        served = await serve(backend.resource(), TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1"))
        self.addCleanup(lambda: Deferred.fromCoroutine(served.stop()))
        return backend, served

    async def connect(self, served: Served, request: bytes) -> Wire:
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", served.port)
        wire: Wire = await connectProtocol(endpoint, Wire())
        wire.transport.write(request)
        return wire

    async def until(self, condition: Callable[[], object]) -> None:
        while not condition():
            await deferLater(reactor, 0.005)

    async def test_stop(self) -> None:
        """Stopping ends the connections that are open, and answers when they are gone."""
        backend, served = await self.serve()
        wire = await self.connect(served, b"GET /sleep?seconds=60 HTTP/1.1\r\nHost: x\r\n\r\n")
        await self.until(lambda: backend.stats.in_progress)
        await served.stop()
        self.assertEqual(backend.stats.in_progress, 0)
        await wire.lost

    async def test_hang_up(self) -> None:
        """A client's hang-up stops the generation, and is counted once."""
        backend, served = await self.serve()
        body = b'{"prompt": "x", "stream": true}'
        wire = await self.connect(
            served, b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        await self.until(lambda: b"Good" in wire.received)
        wire.transport.abortConnection()
        await self.until(lambda: backend.stats.hang_ups)
        self.assertEqual((backend.stats.hang_ups, backend.stats.finished, backend.stats.in_progress), (1, 0, 0))

    async def test_hang_up_while_silent(self) -> None:
        """A hang-up is noticed before anything was written."""
        backend, served = await self.serve()
        wire = await self.connect(served, b"GET /sleep?seconds=60 HTTP/1.1\r\nHost: x\r\n\r\n")
        await self.until(lambda: backend.stats.in_progress)
        wire.transport.abortConnection()
        await self.until(lambda: backend.stats.hang_ups)
        self.assertEqual(backend.stats.in_progress, 0)

    async def test_big(self) -> None:
        """Many bytes arrive whole, in order, and a client that does not read makes the backend wait."""
        backend, served = await self.serve()
        size = 64 << 20
        wire = await self.connect(served, b"GET /big?size=%d HTTP/1.0\r\nHost: x\r\n\r\n" % size)
        await self.until(lambda: wire.received)
        wire.transport.pauseProducing()
        for _ in range(50):
            await deferLater(reactor, 0)
        self.assertEqual(backend.stats.finished, 0)
        wire.transport.resumeProducing()
        await wire.lost
        body = wire.received.partition(b"\r\n\r\n")[2]
        self.assertEqual((len(body), zlib.crc32(body)), (size, zlib.crc32(PIECE * (size // len(PIECE)))))
        self.assertEqual(backend.stats.finished, 1)

    async def test_die(self) -> None:
        """A backend that dies sends what it said it would send first, and then resets the connection."""
        _, served = await self.serve()
        wire = await self.connect(served, b"GET /die?size=5000&after=3000 HTTP/1.1\r\nHost: x\r\n\r\n")
        await wire.lost
        head, _, body = bytes(wire.received).partition(b"\r\n\r\n")
        self.assertIn(b"Content-Length: 5000", head)
        self.assertEqual((len(body), wire.clean), (3000, False))
