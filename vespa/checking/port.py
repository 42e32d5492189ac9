"""
Examines the worker's port and its public URL.

A free port is opened for a moment, with a server that answers `/ping` with a token. So a request to the public URL
shows whether it leads to this port, even while no worker runs.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any, Final

from attrs import frozen
from twisted.internet.defer import maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.web.resource import Resource
from twisted.web.server import Request

from vespa.checking.finding import Finding, failed, ok, skipped, warning
from vespa.checking.unanswered import unanswered
from vespa.checking.unverified import unverified_agent
from vespa.client.trust import TrustError
from vespa.config.worker import WorkerSettings
from vespa.http.agent import Agent
from vespa.http.resource import serve_resource
from vespa.http.server import Server
from vespa.runtime.http_client import BoundedClient, CallError
from vespa.transport.endpoint_strings import split
from vespa.transport.listen import parse
from vespa.worker.obstacles import listen_problem

SECONDS: Final = 5.0  # the time limit for each request
_PONG: Final = b"pong"


class Beacon(Resource):
    """Answers `/ping` with a token, and everything else with 503, as a worker does that is not ready."""

    isLeaf = True

    def __init__(self, token: bytes) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._token = token

    def render(self, request: Request) -> bytes:
        """Answer."""
        if request.path == b"/ping":
            return self._token
        request.setResponseCode(503)
        request.setHeader(b"Retry-After", b"5")
        return b"this worker is being checked\n"


@frozen
class Place:
    """Where the worker listens, as this machine reaches it."""

    host: str
    port: int
    tls: bool

    @property
    def url(self) -> str:
        """The base URL."""
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}"


def local_place(settings: WorkerSettings) -> Place | None:
    """The worker's port on this machine; None if its endpoint is no port of IPv4."""
    if not settings.listen:
        return Place("127.0.0.1", settings.worker_port, settings.tls)
    values, named = split(settings.listen)
    kind, *others = values or [""]
    port = named.get("port", others[0] if others else "")
    host = named.get("interface", others[1] if len(others) > 1 else "") or "127.0.0.1"
    if kind not in ("tcp", "ssl") or not port.isdecimal() or ":" in host:
        return None
    return Place("127.0.0.1" if host == "0.0.0.0" else host, int(port), kind == "ssl")


class PortCheck:
    """
    Examines the port, then the public URL. `token` is a text that nobody can guess.

    `roots` returns the Twisted trust root by which clients verify workers, or raises TrustError.
    """

    def __init__(
        self, reactor: Any, settings: WorkerSettings, *, token: str, roots: Callable[[], Awaitable[object]]
    ) -> None:
        self._reactor = reactor
        self._settings = settings
        self._token = token.encode("ascii")
        self._roots = roots
        self._clock: Any = reactor

    async def run(self) -> list[Finding]:
        """The findings: the port, and the public URL if there is one."""
        listen = self._settings.listen
        if listen.startswith("unix:"):
            return [_socket(listen)]
        if listen and not listen.startswith(("tcp:", "tcp6:", "ssl:")):
            return [skipped("port", f"VESPA_LISTEN={listen} is not opened by a check", "start the worker to see it")]
        try:
            server = serve_resource(Beacon(self._token), self._clock)
            port = await parse(self._reactor, self._settings.endpoint).listen(server)
        except (CannotListenError, OSError, OverflowError) as error:
            return await self._taken(error)
        except Exception as error:  # a certificate that does not load, a malformed endpoint: examined elsewhere
            why = f"not opened: {str(error) or type(error).__name__}"
            return [skipped("port", why, "correct what failed above")]
        try:
            return [ok("port", f"{self._shown()} can be opened"), *await self._public(self._token)]
        finally:
            await _close(port, server)

    def _shown(self) -> str:
        settings = self._settings
        return settings.listen or f"{settings.interface} port {settings.worker_port}"

    async def _taken(self, error: Exception) -> list[Finding]:
        place = local_place(self._settings)
        if place is not None and await self._is_worker(place):
            why = f"a worker runs at {self._shown()} already (it answers /ping); a second one could not start"
            return [ok("port", why, running=True), *await self._public(_PONG)]
        sentence, _, advice = listen_problem(self._settings, error).partition("; ")
        found = [failed("port", sentence, advice or "choose another with VESPA_WORKER_PORT")]
        if self._settings.public_url:
            found.append(skipped("public url", "not called, because the port is not the worker's", "free the port"))
        return found

    async def _is_worker(self, place: Place) -> bool:
        agent = unverified_agent(self._reactor, SECONDS)  # its certificate is for the public address
        try:
            response = await BoundedClient(agent, self._clock).request("GET", f"{place.url}/ping", timeout=SECONDS)
        except CallError:
            return False
        return response.success and response.body == _PONG

    async def _public(self, expected: bytes) -> list[Finding]:
        url = self._settings.public_url
        if not url:
            return []
        try:
            trust = await self._roots() if url.startswith("https:") else None
        except TrustError as error:
            return [skipped("public url", f"not called: {error}", "correct VAST_CONSOLE_URL, or try again")]
        agent = Agent(self._reactor, connect_timeout=SECONDS, persistent=False, trust=trust, name="worker")
        began = self._clock.seconds()
        try:
            response = await BoundedClient(agent, self._clock).request("GET", f"{url}/ping", timeout=SECONDS)
        except CallError as error:
            return [self._unreached(url, error)]
        seconds = self._clock.seconds() - began
        if response.body == expected:
            why = f"{url} leads to the worker's port ({seconds * 1000:.0f} ms)"
            return [ok("public url", why, url=url, seconds=seconds)]
        why = f"{url} leads to another server, which answered /ping with {response.status}"
        advice = f"check PUBLIC_IPADDR and VAST_TCP_PORT_{self._settings.worker_port}, and the template's ports"
        return [warning("public url", why, advice, url=url)]

    def _unreached(self, url: str, error: CallError) -> Finding:
        why, _ = unanswered(error, url, "PUBLIC_IPADDR", SECONDS)
        if "certificate" in why:
            advice = "see the certificate's lines above; clients of Vast.ai refuse it as this check does"
            return warning("public url", why, advice, url=url)
        said = f"not reachable from this machine: {why}. Many networks do not lead a machine to its own public address "
        said += "(hairpin NAT), so it may be reachable from elsewhere"
        advice = (
            f"try `curl -k {url}/ping` from another machine while the worker runs; if that fails too, check "
            f"PUBLIC_IPADDR and that the template opens port {self._settings.worker_port}"
        )
        return warning("public url", said, advice, url=url)


def _socket(listen: str) -> Finding:
    """A unix socket is not opened, because that would replace the one that is there."""
    path = split(listen)[0][1] if len(split(listen)[0]) > 1 else split(listen)[1].get("address", "")
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        return failed("port", f"there is no folder {folder} for the socket", "make it, or change VESPA_LISTEN")
    if not os.access(folder, os.W_OK | os.X_OK):
        return failed("port", f"this user may not create a socket in {folder}", "change its owner, or VESPA_LISTEN")
    return ok("port", f"a socket can be made at {path}" if not os.path.exists(path) else f"{path} is there already")


async def _close(port: IListeningPort, server: Server) -> None:
    await maybeDeferred(port.stopListening)
    ended = server.drain()
    server.abort()
    await ended
