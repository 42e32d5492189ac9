"""Tests of `vespa.simulator.websocket`."""

from __future__ import annotations

import json
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, connectProtocol
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.seeds import examples
from tests.simulator.wire import Wire
from vespa.simulator.backend import SimulatedBackend
from vespa.simulator.serving import serve
from vespa.simulator.websocket import BINARY, CLOSE, CONTINUATION, PING, TEXT, Broken, Frame, Frames, accepted, unmasked

MASK = b"\x01\x02\x03\x04"


def masked(frame: Frame) -> bytes:
    """A frame as a client sends it."""
    written = frame.written()
    head = len(written) - len(frame.payload)
    return written[:1] + bytes([written[1] | 0x80]) + written[2:head] + MASK + unmasked(frame.payload, MASK)


class FrameTests(SynchronousTestCase):
    def test_key(self) -> None:
        """The response to a key is that of the RFC's example."""
        self.assertEqual(accepted(b"dGhlIHNhbXBsZSBub25jZQ=="), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")

    @settings(max_examples=examples(50))
    @given(st.lists(st.sampled_from([0, 1, 125, 126, 127, 65535, 65536, 70000]), max_size=4), st.integers(1, 70000))
    def test_lengths(self, sizes: list[int], cut: int) -> None:
        """Frames of every kind of length are read as they were written, however they arrive in pieces."""
        frames = [Frame(BINARY, bytes(range(256)) * (size // 256) + bytes(size % 256)) for size in sizes]
        stream, reader = b"".join(map(masked, frames)), Frames()
        pieces = [stream[start : start + cut] for start in range(0, len(stream), cut)]
        self.assertEqual([frame for piece in pieces for frame in reader.feed(piece)], frames)

    def test_broken(self) -> None:
        """What a client must not send is refused: no mask, a reserved bit or kind, a control frame in parts."""
        for raw in (
            Frame(TEXT, b"x").written(),
            b"\xc1\x80" + MASK,
            b"\x83\x80" + MASK,
            masked(Frame(PING, b"", fin=False)),
            masked(Frame(CLOSE, bytes(126))),
            b"\x82\xff" + (1 << 40).to_bytes(8, "big"),
        ):
            self.assertRaises(Broken, lambda raw=raw: list(Frames().feed(raw)))


class EchoTests(TestCase):
    timeout = 20

    async def connect(self, target: str = "/ws", *lines: str) -> Wire:
        backend = SimulatedBackend(reactor)
        served = await serve(
            backend.resource(), TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1"), backend.upgrades
        )
        self.addCleanup(lambda: Deferred.fromCoroutine(served.stop()))
        wire: Wire = await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", served.port), Wire())
        head = [f"GET {target} HTTP/1.1", "Host: x", *lines, "", ""]
        wire.transport.write("\r\n".join(head).encode())
        return wire

    async def open(self, target: str = "/ws", *lines: str) -> Wire:
        handshake = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")
        wire = await self.connect(target, *handshake, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", *lines)
        await self.until(lambda: b"\r\n\r\n" in wire.received)
        self.assertIn(b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n", wire.received)
        return wire

    async def until(self, condition: Callable[[], object]) -> None:
        while not condition():
            await deferLater(reactor, 0.005)

    async def says(self, wire: Wire, *frames: Frame, back: bytes) -> None:
        wire.transport.write(b"".join(map(masked, frames)))
        await self.until(lambda: wire.received.endswith(back))

    async def test_echo(self) -> None:
        """Messages come back whole, as they were, pings in between; a close is answered and ends it well."""
        wire = await self.open()
        await self.says(wire, Frame(TEXT, b"hello"), back=Frame(TEXT, b"hello").written())
        big = bytes(200_000)
        await self.says(wire, Frame(BINARY, big), back=Frame(BINARY, big).written())
        parts = (Frame(TEXT, b"in ", fin=False), Frame(PING, b"?"), Frame(CONTINUATION, b"parts"))
        pong = Frame(0xA, b"?").written()
        await self.says(wire, *parts, back=pong + Frame(TEXT, b"in parts").written())
        await self.says(wire, Frame(CLOSE, b"\x03\xe8bye"), back=Frame(CLOSE, b"\x03\xe8").written())
        await wire.lost
        self.assertTrue(wire.clean)

    async def test_hello(self) -> None:
        """It tells what it was asked where it is wanted, and takes the first protocol offered."""
        wire = await self.open("/ws?a=1&hello", "Sec-WebSocket-Protocol: chat, other", "X-Test: 1")
        self.assertIn(b"Sec-WebSocket-Protocol: chat\r\n", wire.received)
        await self.until(lambda: wire.received.endswith(b"]]}"))
        said = json.loads(wire.received[wire.received.index(b'{"target"') :])
        self.assertEqual(said["target"], "/ws?a=1&hello")
        self.assertIn(["X-Test", "1"], said["headers"])

    async def test_broken(self) -> None:
        """Who breaks the protocol is told how, and the connection closed."""
        wire = await self.open()
        wire.transport.write(masked(Frame(CONTINUATION, b"of nothing")))
        await wire.lost
        self.assertIn(b"\x03\xea", wire.received)

    async def test_no_handshake(self) -> None:
        """Any other request is refused, and the connection goes on."""
        wire = await self.connect()
        await self.until(lambda: b"WebSocket\n" in wire.received)
        self.assertTrue(wire.received.startswith(b"HTTP/1.1 426 "))
        wire.transport.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        await self.until(lambda: b"200 OK" in wire.received)
        wire.transport.loseConnection()
        await wire.lost
