"""
Our own transports of sockets: Twisted's `tcp.Connection`, which reads and writes with fewer steps.

Twisted's `write` queues the data and asks the reactor for an event when the socket has room: two system calls and three
Python frames before the `send`. The socket nearly always has room. So `write_now` sends at once if nothing is queued,
and leaves the rest to Twisted, whose buffer, producers and errors stay in charge.
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
    """Twisted's address for the end of a socket that the kernel calls `name`."""
    if family == AF_UNIX:
        return UNIXAddress(name or None)
    return (IPv4Address if family == socket.AF_INET else IPv6Address)("TCP", *name)


class DirectTransport(tcp.Connection):
    """The methods that `sockets` needs from our own transports. The base of plain ones and of `TLSTransport`."""

    no_delay = False  # whether the socket already sends small writes at once

    # Twisted's own versions check whether TLS was started on top, which these transports do not support.
    write = FileDescriptor.write
    writeSequence = FileDescriptor.writeSequence
    registerProducer = FileDescriptor.registerProducer
    unregisterProducer = FileDescriptor.unregisterProducer
    loseConnection = FileDescriptor.loseConnection

    def __init__(self, sock: socket.socket, protocol: Any, reactor: Any) -> None:
        """Like the constructor of `tcp.Connection`. `sock` is already non-blocking."""
        FileDescriptor.__init__(self, reactor)
        self.socket = sock
        self.fileno = sock.fileno
        self.protocol = protocol

    def write_now(self, data: bytes | memoryview) -> None:
        """Like `write`, but sends at once as much as the socket takes."""
        raise NotImplementedError

    def read_to(self, data_received: Received) -> None:
        """Pass arriving bytes directly to `data_received` instead of the protocol."""
        raise NotImplementedError

    def read_to_protocol(self) -> None:
        """Undo `read_to`."""
        raise NotImplementedError

    def pieces(self) -> list[bytes]:
        """The written pieces that wait for room, as they were given; empty once Twisted has joined them."""
        return list(self._tempDataBuffer)

    def close_now(self) -> None:
        """Close the socket within this call. No event of this turn may be pending for this transport."""
        self.connectionLost(Failure(ConnectionAborted() if self.TLS else ConnectionDone()))

    def startTLS(self, *_: object, **__: object) -> None:
        """Not supported."""
        raise NotImplementedError("this transport cannot start TLS: connect with a TLS endpoint")

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Send small writes at once. Does nothing on a unix socket, which never delays them."""
        if self.socket.family != AF_UNIX:
            super().setTcpNoDelay(enabled)

    def logPrefix(self) -> str:
        """The name of the protocol, for the log."""
        return type(getattr(self, "protocol", None)).__name__


class SocketTransport(DirectTransport):
    """The transport of a plain socket: TCP or unix."""

    _closing = False  # will close at the end of this turn

    def write_now(self, data: bytes | memoryview) -> None:
        if (
            self._tempDataLen
            or self.dataBuffer
            or (self.disconnecting and not self._closing)
            or not self.connected
            or (self.producer is not None and not self.streamingProducer)  # a pull producer, which the reactor drives
        ):
            self.write(bytes(data))  # bytes(data) returns the same object if data is bytes
            return
        try:
            sent = self.socket.send(data)
        except OSError:  # no room; or an error, which the reactor meets again and reports to the protocol
            sent = 0
        if sent < len(data):
            self.write(bytes(memoryview(data)[sent:]) if sent else bytes(data))

    def loseConnection(self, _: object = None) -> None:
        """
        Close the connection when all written data is sent. connectionLost is called later.

        If no data waits, this happens at the end of this turn, without asking the reactor for a write event.
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
            self.disconnecting = 0  # so that Twisted's method starts from the beginning
            super().loseConnection()  # type: ignore[no-untyped-call]
        elif self.connected and not self._aborting:
            self.connectionLost(Failure(CONNECTION_DONE))

    def read_to(self, data_received: Received) -> None:
        self.doRead = _read(self.socket.recv, data_received)  # type: ignore[method-assign]

    def read_to_protocol(self) -> None:
        if not self._aborting:  # otherwise abortConnection has set its own doRead
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
    """Mixed into a transport: the server's end, which a `tcp.Port` makes like Twisted's own `Server`."""

    no_delay = sys.platform.startswith("linux")  # inherited from the port; other systems may not do this

    def __init__(
        self, sock: socket.socket, protocol: Any, client: Any, server: Any, sessionno: int, reactor: Any
    ) -> None:
        """`client` is the kernel's name of the other end."""
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
