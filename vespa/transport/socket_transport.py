"""
Our own transports of sockets: Twisted's `tcp.Connection`, read and written with fewer steps.

A stock `write` queues the data and asks the reactor to say when the socket has room: two system calls and three Python
frames before the `send`. The socket has room nearly always, so `write_now` sends at once when nothing waits before, and
leaves the rest to Twisted: its buffer, its producers and its errors stay what they are.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from typing import Any, Final

from twisted.internet import tcp
from twisted.internet.abstract import FileDescriptor
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IAddress
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.python.failure import Failure

from vespa.transport.turn_end import IMMEDIATE, turn_end_of

READ_BYTES: Final = 65536
AF_UNIX: Final = getattr(socket, "AF_UNIX", None)


Received = Callable[[bytes], object]


def address_of(family: int, name: Any) -> IAddress:
    """What Twisted calls the end of a socket that the kernel calls `name`."""
    if family == AF_UNIX:
        return UNIXAddress(name or None)
    return (IPv4Address if family == socket.AF_INET else IPv6Address)("TCP", *name)


class DirectTransport(tcp.Connection):
    """What `sockets` asks of our own transports, beyond what Twisted's have: a plain one's, and `TLSTransport`'s."""

    no_delay = False
    """Small writes leave at once already."""

    # Twisted's own look here whether TLS was started on top, which these do not offer.
    write = FileDescriptor.write
    writeSequence = FileDescriptor.writeSequence
    registerProducer = FileDescriptor.registerProducer
    unregisterProducer = FileDescriptor.unregisterProducer
    loseConnection = FileDescriptor.loseConnection

    def __init__(self, sock: socket.socket, protocol: Any, reactor: Any) -> None:
        """`sock` does not block. What `tcp.Connection` does, without asking for that again."""
        FileDescriptor.__init__(self, reactor)
        self.socket = sock
        self.fileno = sock.fileno
        self.protocol = protocol

    def write_now(self, data: bytes | memoryview) -> None:
        """Do what `write` does, sending at once what the socket takes."""
        raise NotImplementedError

    def read_to(self, data_received: Received) -> None:
        """Hand what arrives straight to `data_received`, not to the protocol."""
        raise NotImplementedError

    def read_to_protocol(self) -> None:
        """Undo `read_to`."""
        raise NotImplementedError

    def pieces(self) -> list[bytes]:
        """What was written and waits for room, as it was given; empty once Twisted has joined it."""
        return list(self._tempDataBuffer)

    def close_now(self) -> None:
        """Close the socket within this call; no event of this turn may be on its way here."""
        self.connectionLost(Failure(ConnectionAborted() if self.TLS else ConnectionDone()))

    def startTLS(self, *_: object, **__: object) -> None:
        """Not offered."""
        raise NotImplementedError("TLS is not started on this transport: ask for it with the connection")

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Send small writes at once. Nothing to set on a unix socket, which does not wait for more."""
        if self.socket.family != AF_UNIX:
            super().setTcpNoDelay(enabled)

    def logPrefix(self) -> str:
        """Whose connection it is, in the log."""
        return type(getattr(self, "protocol", None)).__name__


class SocketTransport(DirectTransport):
    """A plain socket's: TCP or unix."""

    _closing = False  # at the end of this turn

    def write_now(self, data: bytes | memoryview) -> None:
        """Do what `write` does, sending at once what the socket takes."""
        if (
            self._tempDataLen
            or self.dataBuffer
            or (self.disconnecting and not self._closing)
            or not self.connected
            or (self.producer is not None and not self.streamingProducer)  # pulled on by the reactor only
        ):
            self.write(bytes(data))  # of bytes: the same object
            return
        try:
            sent = self.socket.send(data)
        except OSError:  # no room; or an error, which the reactor meets again and tells the protocol
            sent = 0
        if sent < len(data):
            self.write(bytes(memoryview(data)[sent:]) if sent else bytes(data))

    def loseConnection(self, _: object = None) -> None:
        """
        Close the connection when all that was written is out; connectionLost is called later.

        Where nothing waits that is the end of this turn: the reactor is not asked when there is room for nothing.
        """
        turn_end = turn_end_of(self.reactor)
        if turn_end is IMMEDIATE or self.producer is not None or self._writeDisconnecting or not self.connected:
            super().loseConnection()  # type: ignore[no-untyped-call]
        elif not self.disconnecting:
            self.disconnecting = 1
            self._closing = True
            turn_end.append((self._close, b""))

    def _close(self, _: bytes) -> None:
        self._closing = False
        if self._tempDataLen or self.dataBuffer or self.producer is not None or self._writeDisconnecting:
            self.disconnecting = 0  # not asked for yet, as Twisted sees it
            super().loseConnection()  # type: ignore[no-untyped-call]
        elif self.connected and not self._aborting:
            self.connectionLost(Failure(CONNECTION_DONE))

    def read_to(self, data_received: Received) -> None:
        """Hand what arrives straight to `data_received`, not to the protocol."""
        self.doRead = _read(self.socket.recv, data_received)  # type: ignore[method-assign]

    def read_to_protocol(self) -> None:
        """Undo `read_to`."""
        if not self._aborting:  # abortConnection put its own there
            self.__dict__.pop("doRead", None)


def _read(
    receive: Callable[[int], bytes], data_received: Received
) -> Callable[[], ConnectionDone | ConnectionLost | None]:
    def read() -> ConnectionDone | ConnectionLost | None:
        try:
            data = receive(READ_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            return CONNECTION_LOST
        if not data:
            return CONNECTION_DONE
        data_received(data)
        return None

    return read


class Accepted(DirectTransport):
    """Mixed into a transport: the server's end, made by a `tcp.Port` as Twisted's own `Server` is."""

    no_delay = sys.platform.startswith("linux")  # as the port has it; others may not hand it down

    def __init__(
        self, sock: socket.socket, protocol: Any, client: Any, server: Any, sessionno: int, reactor: Any
    ) -> None:
        """`client` is what the kernel calls the other end."""
        sock.setblocking(False)
        super().__init__(sock, protocol, reactor)
        self.server = server
        self.client = client
        self.sessionno = sessionno
        self.connected = 1
        self.startReading()  # type: ignore[no-untyped-call]

    def getHost(self) -> IAddress:
        """The address that the client connected to."""
        return address_of(self.socket.family, self.socket.getsockname())

    def getPeer(self) -> IAddress:
        """The client's address."""
        return address_of(self.server.addressFamily, self.client)


class ServerTransport(Accepted, SocketTransport):
    """The server's end of a plain connection."""
