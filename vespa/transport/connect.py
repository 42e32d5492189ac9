"""
Connects to a socket with fewer steps than Twisted.

A burst of new streams is a burst of new connections to the backend, and the last of them waits for all the others.
Twisted's endpoint makes a connector, three timers and a wrapper for each. Here the transport itself connects:
there is no other object besides the caller's Deferred, and a connection to this machine is made within the call.
`tls_connect` does this for TLS, and `resolve` for names.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, TimeoutError, getConnectError
from twisted.internet.interfaces import IAddress, IProtocolFactory, IStreamClientEndpoint
from twisted.python.failure import Failure
from zope.interface import implementer

from vespa.transport.socket_transport import AF_UNIX, DirectTransport, SocketTransport, address_of

_AGAIN_SECONDS: Final = 0.01
_WAITING: Final = frozenset((errno.EINPROGRESS, errno.EALREADY, errno.EWOULDBLOCK))


class Connecting(DirectTransport):
    """
    Mixed into a transport: the client's end, which is first an attempt to connect.

    During the attempt the reactor's events belong to the attempt, afterwards to the transport.
    """

    _factory: Any = None  # of the protocol; None after the attempt
    _timer: Any = None
    _again: Any = None

    def __init__(self, family: int, reactor: Any) -> None:
        """Raises OSError if no descriptor is left."""
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        super().__init__(sock, None, reactor)

    def begin(self, address: Any, factory: IProtocolFactory, seconds: float, result: Deferred[Any]) -> None:
        """Connect within `seconds`. Fires `result`, within this call or later."""
        self._factory = factory
        self._seconds = seconds
        self._result = result
        self._ask(address)

    def _ask(self, address: Any) -> None:
        """Call connect."""
        sock = self.socket
        try:
            outcome = sock.connect_ex(address)
        except (OSError, ValueError) as error:  # an invalid address, such as a path that is too long
            self._give_up(ConnectError(string=str(error)))
            return
        if outcome == errno.EINPROGRESS:
            # A server on this machine has answered by now, because its part ran within our call.
            outcome = sock.connect_ex(address)
        if not outcome or outcome == errno.EISCONN:
            self._connected()
            return
        self._limit()
        if outcome == errno.EAGAIN and sock.family == AF_UNIX:
            # The server's queue is full, and the kernel does not report when it has room.
            self._again = self.reactor.callLater(_AGAIN_SECONDS, self._ask, address)  # type: ignore[attr-defined]
        elif outcome in _WAITING:
            self.reactor.addWriter(self)
        else:
            self._refused(outcome)

    def _limit(self) -> None:
        """Start the time limit."""
        if self._timer is None:
            later: Any = self.reactor
            self._timer = later.callLater(self._seconds, self._give_up, TimeoutError())

    def doWrite(self) -> Any:
        """The socket has room. During an attempt: the kernel has a result."""
        if self._factory is None:
            return super().doWrite()  # type: ignore[no-untyped-call]
        error = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            self._refused(error)
        else:
            self.reactor.removeWriter(self)
            self._connected()
        return None

    def _connected(self) -> None:
        """The socket is connected."""
        self.startReading()  # type: ignore[no-untyped-call]
        self._open()

    def _open(self) -> None:
        """The connection is usable: this object is now the transport of its protocol."""
        if self._timer is not None:
            self._stop_timers()
        factory, self._factory = self._factory, None
        result, self._result = self._result, None  # type: ignore[assignment]
        self.protocol = protocol = factory.buildProtocol(None)
        self.connected = 1
        protocol.makeConnection(self)
        result.callback(protocol)

    def _refused(self, number: int) -> None:
        """The kernel reports a failure."""
        self._give_up(getConnectError((number, os.strerror(number))))

    def _give_up(self, error: Exception) -> None:
        """Fail the attempt."""
        result = self._result
        self.cancel()
        result.errback(Failure(error))

    def cancel(self, _: object = None) -> None:
        """End an attempt: close the socket and stop the timers. The caller fires its Deferred."""
        if self._factory is not None:
            self._factory = None
            self._result = None  # type: ignore[assignment]
            self._stop_timers()
            self.reactor.removeReader(self)
            self.reactor.removeWriter(self)
            self.socket.close()

    def _stop_timers(self) -> None:
        for timer in (self._timer, self._again):
            if timer is not None and timer.active():
                timer.cancel()
        self._timer = self._again = None

    def connectionLost(self, reason: Failure) -> None:
        """The connection has ended. During an attempt: the reactor met an error first, and the socket holds it."""
        if self._factory is None:
            super().connectionLost(reason)
        else:
            self._refused(self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) or errno.ECONNABORTED)

    def getHost(self) -> IAddress:
        """This end's address."""
        return address_of(self.socket.family, self.socket.getsockname())

    def getPeer(self) -> IAddress:
        """The server's address."""
        return address_of(self.socket.family, self.socket.getpeername())


class ClientTransport(Connecting, SocketTransport):
    """The client's end of a plain connection."""


@implementer(IStreamClientEndpoint)
class ConnectingEndpoint:
    """
    Connects to a plain socket: an IP address and port, or the path of a unix socket. `seconds` limits one attempt.

    `connect` fires with the protocol, or fails with a `ConnectError` (`TimeoutError` is one). It may be cancelled.
    """

    def __init__(self, reactor: Any, family: int, address: Any, seconds: float) -> None:
        self._reactor = reactor
        self._family = family
        self.address = address
        self._seconds = seconds

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        try:
            transport = self._transport()
        except OSError as error:  # no descriptor is left
            failed: Deferred[Any] = Deferred()
            failed.errback(Failure(getConnectError((error.errno or 0, str(error)))))
            return failed
        result: Deferred[Any] = Deferred(transport.cancel)
        transport.begin(self.address, protocolFactory, self._seconds, result)
        return result

    def _transport(self) -> Connecting:
        return ClientTransport(self._family, self._reactor)
