"""The admin port: what operators see of this process, at a port of its own, because backends use all paths."""

from __future__ import annotations

import errno
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IDelayedCall, IListeningPort
from twisted.logger import Logger

from vespa.http.limits import Limits
from vespa.http.server import Server
from vespa.observability.admin_access import AdminAccess
from vespa.observability.routes import Routes, Sources
from vespa.proxy.certificate_renewal import renewal
from vespa.proxy.listener import cannot_listen, shown_address
from vespa.runtime.deadlines import within
from vespa.runtime.services import SurvivingLoop
from vespa.transport.certificates import Certificate, Expiry
from vespa.transport.descriptors import ADMIN_CONNECTIONS
from vespa.transport.endpoint_strings import kind_of
from vespa.transport.listen import parse

PORTS_TRIED: Final = 16
"""The number of ports that are tried from the default one on."""
RETRY_SECONDS: Final = 10.0
DRAIN_SECONDS: Final = 1.0
"""How long a stop waits for responses in progress."""

LIMITS: Final = Limits(
    upgrades=frozenset(),
    body_idle_seconds=10.0,
    write_stall_seconds=15.0,
    keepalive_seconds=75.0,  # longer than Prometheus waits between two scrapes
    pipeline_bytes=16384,
    held_bytes=16 << 20,
    unverified_bytes=1 << 20,
    connections=ADMIN_CONNECTIONS,
    linger_bytes=1 << 20,
)


class AdminListener(Service):
    """
    Listens, and serves `routes`. It starts before what it shows, and stops last.

    A default port that is taken moves on to the next free one, so that several workers can run on one machine. A port
    that cannot be opened is logged as an error, once. The process serves without it, and tries again at an interval:
    the process that had it may be one that is just ending.
    """

    log = Logger()

    def __init__(
        self, reactor: Any, endpoint: str, routes: Routes, *, moves: bool = False, setting: str = "VESPA_ADMIN_LISTEN"
    ) -> None:
        """
        `endpoint` is an endpoint string. `moves`: it is the default, `tcp:PORT:interface=…`, whose port may be another
        if it is taken. `setting` is the name of the setting that it comes from. Raises the errors of
        `transport.listen.parse`.
        """
        self._reactor = reactor
        self._description = endpoint
        self._endpoint = parse(reactor, endpoint)
        self._moves = moves
        self._setting = setting
        self._routes = routes
        self._port: IListeningPort | None = None
        self._retry: IDelayedCall | None = None
        self.server = Server(routes, reactor, LIMITS)
        self.certificate: Certificate | None = getattr(self._endpoint, "context_source", None)
        self.renewal: SurvivingLoop | None = None  # looks for a new certificate, and whether the present one expires
        if self.certificate is not None:
            expiry = Expiry(self.certificate, reactor.seconds)
            self.renewal = renewal(reactor, self.certificate, expiry, "the look at the admin port's certificate")

    @property
    def address(self) -> str:
        """Where it listens, as a URL if it has one; "" if it does not."""
        if self._port is None:
            return ""
        host: Any = self._port.getHost()
        number = getattr(host, "port", None)
        if number is None:
            return shown_address(host)
        name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host.host, host.host)
        name = f"[{name}]" if ":" in name and name[:1] != "[" else name
        return f"{'https' if kind_of(self._description) == 'ssl' else 'http'}://{name}:{number}"

    def startService(self) -> None:
        """Listen, if possible."""
        super().startService()  # type: ignore[no-untyped-call]
        self._begin(is_first=True)
        if self.renewal is not None:
            self.renewal.startService()

    def stopService(self) -> Deferred[None]:
        """Close the port, end the streams, and let other responses end for a moment. Does not fail."""
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    def _begin(self, *, is_first: bool = False) -> None:
        Deferred.fromCoroutine(self._start(is_first))

    async def _start(self, is_first: bool) -> None:
        self._retry = None
        for further in range(PORTS_TRIED if self._moves else 1):
            tried = moved(self._description, further)
            endpoint = parse(self._reactor, tried) if further else self._endpoint
            try:
                self._port = await endpoint.listen(self.server)
            except Exception as error:
                problem = error
            else:
                self._log_address(has_moved=further > 0)
                return
            if not _is_taken(problem):
                break
        if is_first:
            why = cannot_listen(tried, problem, self._setting)
            text = "no status page and no metrics: {why}. It is tried again every {seconds:g} s"
            self.log.error(text, why=why, seconds=RETRY_SECONDS)
        self._retry = self._reactor.callLater(RETRY_SECONDS, self._begin)

    def _log_address(self, *, has_moved: bool) -> None:
        why = ""
        if has_moved:
            why = f" ({self._description} is taken, perhaps by another worker or client; {self._setting} chooses)"
        self.log.info("status page and metrics: {address}{why}", address=self.address, why=why)

    async def _stop(self) -> None:
        if self.renewal is not None:
            await self.renewal.stopService()
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        port, self._port = self._port, None
        if port is not None:
            await maybeDeferred(port.stopListening)
        self._routes.streams.close()
        try:
            await within(DRAIN_SECONDS, self.server.clock, self.server.drain())
        except TimeoutError:
            self.server.abort()


def admin_listener(
    reactor: Any, endpoint: str, token: str, sources: Sources, *, default: str, setting: str
) -> AdminListener:
    """The admin port with its routes. `default` is the setting's default, whose port moves if it is taken."""
    access = AdminAccess(endpoint, token, reactor.seconds)
    routes = Routes(sources, access, reactor)
    return AdminListener(reactor, endpoint, routes, moves=endpoint == default, setting=setting)


def moved(endpoint: str, by: int) -> str:
    """The endpoint string `tcp:PORT:…` with a port that is `by` higher."""
    if not by:
        return endpoint
    kind, number, rest = endpoint.split(":", 2)
    return f"{kind}:{int(number) + by}:{rest}"


def _is_taken(error: Exception) -> bool:
    cause: Any = error.socketError if isinstance(error, CannotListenError) else error
    return getattr(cause, "errno", None) == errno.EADDRINUSE
