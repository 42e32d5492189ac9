"""Connections in memory that behave as sockets do: they fill up, close when empty, and are lost a turn later."""

from __future__ import annotations

from typing import Any

from attrs import define
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionRefusedError, TimeoutError
from twisted.internet.interfaces import IHalfCloseableDescriptor
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.rig import Wire

Address = tuple[str, int]


@implementer(IHalfCloseableDescriptor)
class MemoryTransport(Wire):  # type: ignore[misc]  # nobody calls the other two methods of the interface
    """
    One side of a connection. `later`: its loss is told in another turn of the reactor, as by a real transport.

    `room` is how many bytes it takes before it is full; None: any number.
    """

    def __init__(self, reactor: MemoryReactorClock, *, later: bool) -> None:
        super().__init__()
        self.reactor = reactor
        self.later = later
        self.room: int | None = None
        self.came = bytearray()
        self.late = b""
        self.closing = False
        self.finished = False
        """We ended our side, and read on."""
        self.left = False
        """The peer ended it, not we."""

    def write(self, data: bytes) -> None:
        if self.disconnecting or self.finished:
            self.late += data
            return
        self.came += data
        if self.room is not None and not self.full:
            self.room -= len(data)
            if self.room < 0 and self.producer is not None:
                self.fill()

    def squeeze(self, room: int) -> None:
        """From now on the peer takes so many bytes at once."""
        self.room = room

    def drain(self) -> None:
        if not self.full:
            return
        self.room = None
        super().drain()
        if self.closing:
            self._lose(ConnectionDone())

    def loseConnection(self) -> None:
        if self.protocol is None or self.disconnecting:
            return
        self.disconnecting = self.closing = True
        if not self.full:
            self._lose(ConnectionDone())

    def loseWriteConnection(self) -> None:
        self.finished = True

    def abortConnection(self) -> None:
        if self.protocol is None or self.aborted:
            return
        self.aborted = self.disconnecting = True
        self._lose(ConnectionAborted())

    def _lose(self, reason: Exception) -> None:
        if self.later:
            self.reactor.callLater(0, self.lose, reason)
        else:
            self.lose(reason)

    def leave(self, reason: Exception | None = None) -> None:
        """The peer closed its connection, or cut it (`reason`)."""
        self.left = True
        if reason is not None:
            self.lose(reason)
        elif self.protocol is not None:
            self.protocol.readConnectionLost()
            self._lose(ConnectionDone())

    @property
    def takes(self) -> bool:
        """Whether the proxy would read from it."""
        return self.open and not (self.paused or self.disconnecting or self.left)


@define(eq=False)
class Attempt:
    """An attempt of the proxy's to connect."""

    address: Address
    factory: Any
    connector: Any
    until: float
    over: bool = False

    @property
    def waits(self) -> bool:
        return not self.over and not self.connector.stoppedConnecting


class MemoryNetwork:
    """Whatever the proxy connects to."""

    def __init__(self, reactor: MemoryReactorClock, *, later: bool) -> None:
        self.reactor = reactor
        self.later = later
        self.attempts: list[Attempt] = []
        self.transports: list[tuple[Address, MemoryTransport]] = []
        self._met = 0

    def look(self) -> None:
        """Notice what was attempted since, and let attempts fail that took too long."""
        clients, connectors = self.reactor.tcpClients, self.reactor.connectors
        while self._met < len(clients):
            host, port, factory, timeout, _ = clients[self._met]
            until = self.reactor.seconds() + timeout
            self.attempts.append(Attempt((host, port), factory, connectors[self._met], until))
            self._met += 1
        for attempt in self.waiting():
            if self.reactor.seconds() >= attempt.until:
                self.fail(attempt, TimeoutError())
        self.attempts = [attempt for attempt in self.attempts if attempt.waits]

    def waiting(self) -> list[Attempt]:
        return [attempt for attempt in self.attempts if attempt.waits]

    def accept(self, attempt: Attempt) -> None:
        attempt.over = True
        transport = MemoryTransport(self.reactor, later=self.later)
        protocol = attempt.factory.buildProtocol(IPv4Address("TCP", *attempt.address))
        self.transports.append((attempt.address, transport))
        transport.attach(protocol)

    def fail(self, attempt: Attempt, reason: Exception | None = None) -> None:
        attempt.over = True
        attempt.factory.clientConnectionFailed(attempt.connector, Failure(reason or ConnectionRefusedError()))
