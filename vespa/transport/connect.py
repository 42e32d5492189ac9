"""
Connecting to a plain socket with fewer steps.

A burst of new streams is a burst of new connections to the backend, and the last of them waits for all the others.
Twisted's endpoint makes a connector, three timers and a wrapper for each; here is a socket, one wait until it can be
written to, and the transport. Names that have to be resolved stay Twisted's; TLS is in `tls_connect`.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet import tcp
from twisted.internet.abstract import FileDescriptor
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, TimeoutError, getConnectError
from twisted.internet.interfaces import IAddress, IProtocolFactory, IStreamClientEndpoint
from twisted.python.failure import Failure
from zope.interface import implementer

_AGAIN_SECONDS = 0.01
_AF_UNIX = getattr(socket, "AF_UNIX", None)
_WAITING = frozenset((errno.EINPROGRESS, errno.EALREADY, errno.EWOULDBLOCK))


class ConnectedTransport(tcp.Connection):
    """A connection that this side opened; all but its two ends' names is Twisted's."""

    def __init__(self, sock: socket.socket, protocol: Any, reactor: Any) -> None:
        super().__init__(sock, protocol, reactor)
        self.logstr = "client"
        self.connected = 1

    def getHost(self) -> IAddress:
        return _address(self.socket.family, self.socket.getsockname())

    def getPeer(self) -> IAddress:
        return _address(self.socket.family, self.socket.getpeername())


class ConnectedUnixTransport(ConnectedTransport):
    """The same on a unix socket, where there is nothing to set of TCP."""

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Unix sockets do not wait for more."""


def _address(family: int, name: Any) -> IAddress:
    if family == _AF_UNIX:
        return UNIXAddress(name or None)
    return (IPv4Address if family == socket.AF_INET else IPv6Address)("TCP", *name)


class Connecting(FileDescriptor):
    """A socket that is being connected, until it is a transport's."""

    def __init__(self, reactor: Any, sock: socket.socket, factory: IProtocolFactory, seconds: float) -> None:
        super().__init__(reactor)
        self._later = reactor.callLater
        self._socket: socket.socket | None = sock
        self._factory = factory
        self.result: Deferred[Any] = Deferred(lambda _: self._end())
        self._seconds = seconds
        self._again: Any = None
        self._timer: Any = None

    def begin(self, address: Any) -> None:
        """Ask the kernel for the connection."""
        sock = self._socket
        if sock is None:
            return
        try:
            outcome = sock.connect_ex(address)
        except (OSError, ValueError) as error:  # an address that is none, such as a path too long
            self.give_up(ConnectError(string=str(error)))
            return
        if outcome == errno.EINPROGRESS:
            # A server on this machine has answered by now: its part ran within our call.
            outcome = sock.connect_ex(address)
        if not outcome or outcome == errno.EISCONN:
            self.doWrite()
            return
        self._set_limit()
        if outcome == errno.EAGAIN and sock.family == _AF_UNIX:
            # The server's queue is full, and the kernel does not tell when it is not.
            self._again = self._later(_AGAIN_SECONDS, self.begin, address)
        elif outcome in _WAITING:
            self.reactor.addWriter(self)
        else:
            self.failed(outcome)

    def _set_limit(self) -> None:
        if self._timer is None:
            self._timer = self._later(self._seconds, lambda: self.give_up(TimeoutError()))

    def fileno(self) -> int:
        return -1 if self._socket is None else self._socket.fileno()

    def _end(self) -> None:
        """Let go of the socket and the timers; the Deferred is the caller's to fire."""
        sock, self._socket = self._socket, None
        if sock is not None:
            self.reactor.removeWriter(self)
            sock.close()
        for timer in (self._timer, self._again):
            if timer is not None and timer.active():
                timer.cancel()

    def doWrite(self) -> None:
        """The kernel has an outcome."""
        sock = self._socket
        if sock is None:
            return
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            self.failed(error)
            return
        if self._timer is not None:
            self.reactor.removeWriter(self)
        self.connected_to(sock)

    def connected_to(self, sock: socket.socket) -> None:
        """The socket is connected."""
        self.hand_over(partial(ConnectedUnixTransport if sock.family == _AF_UNIX else ConnectedTransport, sock))

    def hand_over(self, make: Callable[[Any, Any], ConnectedTransport]) -> None:
        """Leave the socket to the transport that `make` makes for a protocol and the reactor: this is over."""
        if self._timer is not None:
            self._timer.cancel()
        self._socket = None
        factory: Any = self._factory
        protocol = factory.buildProtocol(None)
        made: Any = make(protocol, self.reactor)
        made.startReading()
        protocol.makeConnection(made)
        self.result.callback(protocol)

    def failed(self, error: int) -> None:
        """The kernel says no."""
        self.give_up(getConnectError((error, os.strerror(error))))

    def give_up(self, error: Exception) -> None:
        """There will be no connection."""
        self._end()
        self.result.errback(Failure(error))

    def connectionLost(self, reason: Failure) -> None:
        """The reactor met an error before `doWrite` did: the socket knows which."""
        if self._socket is not None:
            self.failed(self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) or errno.ECONNABORTED)

    def logPrefix(self) -> str:
        return "connecting"


@implementer(IStreamClientEndpoint)
class ConnectingEndpoint:
    """
    The way to a plain socket: an IP address and port, or a unix socket's path. `seconds` bounds one attempt.

    `connect` fires with the protocol, or fails with a `ConnectError` (`TimeoutError` is one); it may be cancelled.
    """

    def __init__(self, reactor: Any, family: int, address: Any, seconds: float) -> None:
        self._reactor = reactor
        self._family = family
        self._address = address
        self._seconds = seconds

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        try:
            sock = socket.socket(self._family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        except OSError as error:  # no descriptor is left
            failed: Deferred[Any] = Deferred()
            failed.errback(Failure(getConnectError((error.errno or 0, str(error)))))
            return failed
        connecting = self._connecting(sock, protocolFactory)
        result = connecting.result
        connecting.begin(self._address)
        return result

    def _connecting(self, sock: socket.socket, factory: IProtocolFactory) -> Connecting:
        return Connecting(self._reactor, sock, factory, self._seconds)
