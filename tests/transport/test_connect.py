"""Connecting to plain sockets, over real ones."""

from __future__ import annotations

import os
import socket
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint, UNIXServerEndpoint
from twisted.internet.error import ConnectError, ConnectionRefusedError, TimeoutError
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from vespa.transport.connect import ConnectingEndpoint


class Echo(Protocol):
    transport: Any

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)


class Caller(Protocol):
    transport: Any

    def connectionMade(self) -> None:
        self.heard: Deferred[bytes] = Deferred()
        self.lost: Deferred[None] = Deferred()
        self.transport.setTcpNoDelay(True)
        self.transport.write(b"hello")

    def dataReceived(self, data: bytes) -> None:
        self.heard.callback(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.callback(None)


class Connecting(TestCase):
    timeout = 20

    def begin(self, family: int, address: Any, seconds: float = 5.0) -> Deferred[Any]:
        return ConnectingEndpoint(reactor, family, address, seconds).connect(Factory.forProtocol(Caller))

    async def converse(self, endpoint: Any, family: int, address: Any = None) -> Caller:
        port = await endpoint.listen(Factory.forProtocol(Echo))
        self.addCleanup(port.stopListening)
        caller: Caller = await self.begin(family, address or (port.getHost().host, port.getHost().port))
        self.assertEqual(await caller.heard, b"hello")
        self.assertTrue(str(caller.transport.getPeer()) and str(caller.transport.getHost()))
        caller.transport.loseConnection()
        await caller.lost
        return caller

    async def test_families(self) -> None:
        """IPv4, IPv6 and unix sockets are connected, spoken over and closed as any transport of Twisted's."""
        await self.converse(TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1"), socket.AF_INET)
        await self.converse(TCP6ServerEndpoint(reactor, 0, interface="::1"), socket.AF_INET6)
        path = os.path.join(self.mktemp(), "s")
        os.makedirs(os.path.dirname(path))
        await self.converse(UNIXServerEndpoint(reactor, path), socket.AF_UNIX, path)

    async def test_refused(self) -> None:
        """No server listens: the Deferred fails with the kernel's error."""
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            await self.assertFailure(self.begin(socket.AF_INET, taken.getsockname()), ConnectionRefusedError)
        await self.assertFailure(self.begin(socket.AF_UNIX, "/nowhere/socket"), ConnectError)

    def deaf(self) -> tuple[str, int]:
        """A port whose queue is full: what connects to it waits."""
        listener = socket.socket()
        self.addCleanup(listener.close)
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(2):
            full = socket.socket()
            full.setblocking(False)
            full.connect_ex(listener.getsockname())
            self.addCleanup(full.close)
        address: tuple[str, int] = listener.getsockname()
        return address

    async def test_timeout(self) -> None:
        """An attempt that takes too long fails, and leaves no socket behind."""
        await self.assertFailure(self.begin(socket.AF_INET, self.deaf(), 0.05), TimeoutError)

    async def test_cancel(self) -> None:
        """An attempt that is cancelled fails at once; trial sees that neither timer nor socket is left."""
        connecting = self.begin(socket.AF_INET, self.deaf())
        connecting.cancel()
        await self.assertFailure(connecting, CancelledError)
