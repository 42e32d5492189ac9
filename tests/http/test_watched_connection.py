"""Peers that vanish or never send a byte."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from tests.transport.tls_peer import reactor, until, write_certificate
from vespa.http.limits import Limits
from vespa.http.server import Server
from vespa.transport.listen import parse


def never(connection: object, request: object) -> Any:
    raise AssertionError("no request is sent")


class Probes(TestCase):
    timeout = 20

    async def test_accepted(self) -> None:
        """An accepted connection that lives for a second is probed: a peer that vanished is noticed in four minutes."""
        certificate, key = write_certificate(self.mktemp())
        for kind in ("tcp:0", f"ssl:0:privateKey={key}:certKey={certificate}"):
            sock = await self._accepted(kind + ":interface=127.0.0.1", Limits())
            self.assertEqual(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), 1)
            if hasattr(socket, "TCP_KEEPIDLE"):
                values = [
                    sock.getsockopt(socket.IPPROTO_TCP, name)
                    for name in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
                ]
                self.assertEqual(values, [60, 60, 3])

    async def test_off(self) -> None:
        """0 turns the probes off."""
        sock = await self._accepted("tcp:0:interface=127.0.0.1", Limits(keepalive_probe_seconds=0))
        self.assertEqual(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), 0)

    async def _accepted(self, description: str, limits: Limits) -> socket.socket:
        server = Server(never, reactor, limits)
        port: Any = await parse(reactor, description).listen(server)
        self.addCleanup(port.stopListening)
        client: Any = await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port), Protocol())
        self.addCleanup(lambda: until(lambda: not server.connections))
        self.addCleanup(client.transport.abortConnection)
        await until(lambda: server.connections)
        (connection,) = server.connections
        connection.tick(reactor.seconds())
        sock: socket.socket = connection.transport.socket
        return sock


class _Ends(Protocol):
    def __init__(self) -> None:
        self.ended = False

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ended = True


class Handshakes(TestCase):
    timeout = 20

    async def test_never_ending(self) -> None:
        """A TLS handshake has the time of a first head, ten seconds, whether nothing of it comes or a part."""
        certificate, key = write_certificate(self.mktemp())
        clock = Clock()
        server = Server(never, clock)
        description = f"ssl:0:privateKey={key}:certKey={certificate}:interface=127.0.0.1"
        port: Any = await parse(reactor, description).listen(server)
        self.addCleanup(port.stopListening)
        clients = []
        for start in (b"", b"\x16\x03\x01\x02\x00\x01"):
            client = await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port), _Ends())
            clients.append(client)
            transport: Any = client.transport
            self.addCleanup(transport.abortConnection)
            transport.write(start)
        await until(lambda: len(server.connections) == 2)
        clock.pump([1.0] * 9)
        self.assertEqual([client.ended for client in clients], [False, False])
        clock.pump([1.0] * 3)
        await until(lambda: all(client.ended for client in clients))
        self.assertEqual(len(server.connections), 0)
