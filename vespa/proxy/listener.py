"""The services that every proxy has at the two ends of its tree: its upstreams first, its open port last."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger
from twisted.python.failure import Failure

from vespa.http.server import Server
from vespa.proxy.app import draining
from vespa.runtime.deadlines import within
from vespa.transport.listen import listen_tcp


def shown_address(address: object) -> str:
    """The address at which a port listens, for messages."""
    if isinstance(address, (IPv4Address, IPv6Address)):
        return f"{address.host} port {address.port}"
    if isinstance(address, UNIXAddress):
        return f"the unix socket {os.fsdecode(address.name or b'')}"
    return str(address)


def cannot_listen(where: str, error: Exception, setting: str) -> str:
    """One sentence about a port that cannot be opened: its address, the reason, and the `setting` to change."""
    cause: Any = error.socketError if isinstance(error, CannotListenError) else error
    number = getattr(cause, "errno", None)
    why = os.strerror(number) if isinstance(number, int) else str(cause).rstrip(".") or type(cause).__name__
    advice = _ADVICE.get(number or 0, "choose another with {setting}")
    if number is None and why == _LOCKED:
        advice = _ADVICE[errno.EADDRINUSE]
    elif number == errno.EADDRINUSE and (path := _other_file(error)):
        advice = f"{path} is no socket: remove it, or choose another with {{setting}}"
    return f"cannot listen on {where}: {why}; {advice.format(setting=setting)}"


def _other_file(error: Exception) -> str:
    """The path of a file that is in the place of a unix socket, and is none; or ""."""
    path = error.port if isinstance(error, CannotListenError) else None
    try:
        return os.fsdecode(path) if isinstance(path, bytes) and not stat.S_ISSOCK(os.lstat(path).st_mode) else ""
    except OSError:
        return ""


_LOCKED = "Cannot acquire lock"  # Twisted's words for the lock file of a unix socket
_ADVICE = {
    errno.EADDRINUSE: "another program listens there: end it, or choose another with {setting}",
    errno.EACCES: "this user may not listen there (ports below 1024 are root's): choose another with {setting}",
    errno.EPERM: "this user may not listen there: choose another with {setting}",
    errno.EADDRNOTAVAIL: "this machine has no such address: choose one that it has with {setting}",
    errno.ENOENT: "its folder does not exist: make it, or choose another with {setting}",
}


class Upstreams(Service):
    """The connections to upstreams."""

    def __init__(self, *closers: Callable[[], None]) -> None:
        self._closers = closers

    def stopService(self) -> None:
        """Close idle connections."""
        super().stopService()  # type: ignore[no-untyped-call]
        for close in self._closers:
            close()


@define(eq=False, slots=False)
class SecondListener(Service):
    """
    The same port at a second address, if the system has it: some programs try ::1 first for `localhost`.

    A failure to open it is logged, and is not an error. It starts after `first`, and uses the same port.
    """

    log = Logger()

    _reactor: Any
    _interface: str
    _server: Server
    _first: Listener
    _port: IListeningPort | None = field(default=None, init=False)

    def startService(self) -> None:
        """Listen, if possible."""
        super().startService()  # type: ignore[no-untyped-call]
        number = self._first.port
        if number is None:
            return
        try:
            self._port = listen_tcp(self._reactor, number, self._server, self._interface)
        except CannotListenError as error:
            where = f"[{self._interface}] port {number}"
            self.log.info("{why}", why=f"not listening on {where} as well: {error.socketError}")

    def stopService(self) -> Deferred[None]:
        """Fires when the port is closed."""
        super().stopService()  # type: ignore[no-untyped-call]
        port, self._port = self._port, None
        if port is None:
            return succeed(None)
        stop: Callable[[], Any] = port.stopListening
        closed: Deferred[None] = maybeDeferred(stop)
        return closed


@define(eq=False, slots=False)
class Listener(Service):
    """
    The open port. If it cannot be opened, the start fails.

    `stopService` closes it, lets requests in flight end within `drain_seconds`, and aborts the rest.

    `drain` is called first, and stops new requests. `give_up` is called before the rest is aborted, so that a freed
    slot does not go to a waiting request.
    """

    log = Logger()

    _endpoint: Any
    server: Server
    _drain_seconds: float
    _drain: Callable[[], None]
    _give_up: Callable[[], None]
    _port: IListeningPort | None = field(default=None, init=False)
    error: Exception | None = field(default=None, init=False)  # the reason why the port could not be opened

    def startService(self) -> None:
        """Listen. Raises the error of the endpoint, usually CannotListenError."""
        super().startService()  # type: ignore[no-untyped-call]
        failures: list[Failure] = []
        self._endpoint.listen(self.server).addCallbacks(self._listening, failures.append)
        if failures:
            self.error = failures[0].value if isinstance(failures[0].value, Exception) else None
            failures[0].raiseException()

    @property
    def port(self) -> int | None:
        """The TCP port; None before the start, and without a TCP port."""
        host = self._port.getHost() if self._port is not None else None
        return getattr(host, "port", None)

    def _listening(self, port: IListeningPort) -> None:
        self._port = port
        self.log.info("listening on {address}", address=shown_address(port.getHost()))

    def stopService(self) -> Deferred[None]:
        """Fires when no connection is left, or when the rest was aborted; does not fail."""
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._drain()
        if self._port is not None:
            await maybeDeferred(self._port.stopListening)
        server = self.server
        if server.connections:
            self.log.info(
                "no new requests are accepted; {count} open connections may finish their requests within {seconds:g} s",
                count=len(server.connections),
                seconds=self._drain_seconds,
            )
        try:
            await within(self._drain_seconds, server.clock, server.drain())
        except TimeoutError:
            self.log.warn("{left} connections were still busy after that and are aborted", left=len(server.connections))
            self._give_up()
            server.abort(draining())
