"""Tests of `vespa.simulator.websocket`."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, connectProtocol
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Message, Ping, Pong, TextMessage

from tests.simulator_support.wire import Wire
from vespa.simulator.backend import SimulatedBackend
from vespa.simulator.serving import serve
from vespa.simulator.websocket import MESSAGE_MAX


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

    async def said_back(self, wire: Wire, *said: bytes) -> list[Event]:
        """What came after the handshake, once the connection is closed."""
        for data in said:
            wire.transport.write(data)
        await wire.lost
        client = Connection(ConnectionType.CLIENT)
        client.receive_data(bytes(wire.received.partition(b"\r\n\r\n")[2]))
        return list(client.events())

    async def test_echo(self) -> None:
        """Messages come back whole, as they were, pings in between; a close is answered and ends it well."""
        wire = await self.open()
        client = Connection(ConnectionType.CLIENT)
        sent: list[Event] = [
            Message("hello"),
            Message(bytes(range(256)) * 1000),
            Message("in ", message_finished=False),
            Ping(b"?"),
            Message("parts"),
            CloseConnection(1000, "bye"),
        ]
        events = await self.said_back(wire, *map(client.send, sent))
        self.assertEqual(events[0], TextMessage("hello"))
        binary = b"".join(bytes(event.data) for event in events if isinstance(event, BytesMessage))
        self.assertEqual(binary, bytes(range(256)) * 1000)
        self.assertEqual(events[-3:], [Pong(b"?"), TextMessage("in parts"), CloseConnection(1000, "bye")])
        self.assertTrue(wire.clean)

    async def test_too_big(self) -> None:
        """A message that is too long is not kept: the connection is closed with the code that says so."""
        wire = await self.open()
        client = Connection(ConnectionType.CLIENT)
        parts = [Message(bytes(size), message_finished=False) for size in (MESSAGE_MAX // 2, MESSAGE_MAX // 2, 1)]
        (event,) = await self.said_back(wire, *map(client.send, parts))
        self.assertEqual(event.code, 1009)  # type: ignore[attr-defined]

    async def test_broken(self) -> None:
        """Who breaks the protocol is told how, and the connection closed: no mask, a part of no message."""
        for raw in (b"\x81\x01x", b"\x80\x81\x01\x02\x03\x04y"):
            (event,) = await self.said_back(await self.open(), raw)
            self.assertEqual(event.code, 1002)  # type: ignore[attr-defined]

    async def test_no_handshake(self) -> None:
        """Any other request is refused, and the connection goes on."""
        wire = await self.connect()
        await self.until(lambda: b"WebSocket is supported\n" in wire.received)
        self.assertTrue(wire.received.startswith(b"HTTP/1.1 426 "))
        wire.transport.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        await self.until(lambda: b"200 OK" in wire.received)
        wire.transport.loseConnection()
        await wire.lost

    async def test_no_key(self) -> None:
        """A handshake without a key is refused."""
        wire = await self.connect("/ws", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")
        await self.until(lambda: b"WebSocket is supported\n" in wire.received)
        self.assertTrue(wire.received.startswith(b"HTTP/1.1 426 "))
        wire.transport.loseConnection()
        await wire.lost
