"""The plain port for the backend's own requests: it may end a session from this machine, without TLS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger

from vespa.http.limits import Limits
from vespa.http.server import Application, Server
from vespa.proxy.listener import cannot_listen, shown_address
from vespa.transport.listen import listen_tcp

INTERFACE: Final = "127.0.0.1"
SETTING: Final = "VESPA_HTTP_PORT"
LIMITS: Final = Limits(
    upgrades=frozenset(),
    body_idle_seconds=10.0,
    write_stall_seconds=15.0,
    pipeline_bytes=16384,
    held_bytes=4 << 20,
    unverified_bytes=4 << 20,
    connections=32,
    linger_bytes=1 << 20,
)


class SessionPort(Service):
    """
    Listens on the loopback address, from the first session on: before, nobody has a use for it.

    A port that cannot be opened is a warning. Sessions then end by their time, and by the worker's own port.
    """

    log = Logger(namespace="vespa.worker")

    def __init__(self, reactor: Any, port: int, application: Application) -> None:
        self._reactor = reactor
        self._number = port
        self._tried = False
        self._port: IListeningPort | None = None
        self.server = Server(application, reactor, LIMITS)

    @property
    def port(self) -> int | None:
        """The number of the port; None if it is not open."""
        host: Any = self._port.getHost() if self._port is not None else None
        return getattr(host, "port", None)

    def open(self) -> None:
        """Listen, unless that was tried before."""
        if self._tried or not self.running:
            return
        self._tried = True
        try:
            self._port = listen_tcp(self._reactor, self._number, self.server, INTERFACE)
        except CannotListenError as error:
            why = cannot_listen(f"{INTERFACE} port {self._number}", error, SETTING)
            self.log.warn("the backend cannot end sessions by itself: {why}", why=why)
        else:
            where = shown_address(self._port.getHost())
            self.log.info("the backend may end sessions at {where}: POST /session/end", where=where)

    def stopService(self) -> Deferred[None]:
        """Close the port and its connections. Fires when the port is closed."""
        super().stopService()  # type: ignore[no-untyped-call]
        port, self._port = self._port, None
        self.server.abort()
        if port is None:
            return succeed(None)
        stop: Callable[[], Any] = port.stopListening
        stopped: Deferred[None] = maybeDeferred(stop)
        return stopped
