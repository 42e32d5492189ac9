"""The client's services, made from the settings, in the order in which they start."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Final

from twisted.application.service import IService, Service

from vespa.accounting.fair_queue import FairQueue
from vespa.client.app import ClientApp
from vespa.client.autoscaler_client import ASK_SECONDS, AutoscalerClient
from vespa.client.console import Console
from vespa.client.debug_worker import DebugWorker
from vespa.client.endpoint_key import EndpointKey
from vespa.client.observability import ClientParts, observers
from vespa.client.policy import DEFAULT_COST, Policy
from vespa.client.sessions.sessions import Sessions
from vespa.client.trust import WorkerTrust
from vespa.client.worker_pools import WorkerPools
from vespa.config.client import ClientSettings
from vespa.http.agent import Agent
from vespa.http.coarse_timer import CoarseTimer
from vespa.http.connection_pool import ConnectionPool
from vespa.http.limits import Limits, PoolLimits
from vespa.http.server import Server
from vespa.observability.admin import AdminListener
from vespa.observability.ended_requests import EndedRequests
from vespa.proxy.browser_guard import BrowserGuard
from vespa.proxy.exchange import Exchange
from vespa.proxy.listener import Listener, SecondListener, Upstreams
from vespa.proxy.upstream_deadlines import Timeouts
from vespa.runtime.http_client import BoundedClient
from vespa.runtime.services import InOrder
from vespa.transport.descriptors import ADMIN_CONNECTIONS, RESERVE, limit, share_out, tell
from vespa.transport.listen import parse
from vespa.transport.origin import Origin
from vespa.transport.platform import most_callers
from vespa.transport.splice import Pipes

LOCALHOST: Final = "127.0.0.1"
"""The address of `localhost`. The proxy also listens at ::1, which some programs use for it."""
QUEUE_MAX: Final = 10000
"""The number of requests that may wait for a slot. The server accepts no more connections than this either."""
HELD_MAX: Final = 1 << 30
"""The number of bytes that all requests may hold while they wait for workers, and for another attempt."""
_UNUSED: Final = "unused"  # the key when no autoscaler is asked
AUTOSCALER_IDLE_SECONDS: Final = 30.0
AUTOSCALER_CONNECTIONS: Final = 64
"""The maximum number of connections to the autoscaler, so that a burst of requests is no burst of handshakes."""


class ClientService(InOrder):
    """
    A client proxy. `url` is its address, after the start. `admin` is its admin port; None without one.

    `sessions` are those that it keeps for its callers.
    """

    def __init__(self, listening: Listener, host: str, sessions: Sessions) -> None:
        super().__init__()
        self.sessions = sessions
        self._listening = listening
        self._host = host
        self.admin: AdminListener | None = None

    @property
    def status_page(self) -> str:
        """Where its status page is; "" if it has none."""
        return "" if self.admin is None else self.admin.address

    @property
    def url(self) -> str:
        """The base URL for callers on this machine, without a final slash. Raises RuntimeError before the start."""
        port = self._listening.port
        if port is None:
            raise RuntimeError("the client proxy is not listening")
        host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(self._host, self._host)
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Held(Service):
    """Keeps a coarse timer running with the proxy. Otherwise every request would start it anew."""

    def __init__(self, timer: CoarseTimer) -> None:
        self._timer = timer

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]
        self._timer.add(self)

    def stopService(self) -> None:
        super().stopService()  # type: ignore[no-untyped-call]
        self._timer.discard(self)

    def tick(self, now: float) -> None:
        """Does nothing."""


def make_client(
    reactor: Any, settings: ClientSettings, *, on_wait: Callable[[str, float], None] | None = None
) -> ClientService:
    """
    The whole client proxy.

    While requests wait for a worker, `on_wait` is called with the autoscaler's text and the seconds of the longest
    wait, and with ("", 0.0) when none waits any more. Raises ValueError for wrong settings, OSError for a root's file
    that cannot be read.
    """
    agent = Agent(reactor, connect_timeout=ASK_SECONDS, name="console")
    http = BoundedClient(agent, reactor)
    console = Console(settings.console_url, http, instance=settings.instance)
    debug_url = settings.debug_worker_url
    key = EndpointKey(
        settings.endpoint,
        reactor,
        given=settings.endpoint_key or (_UNUSED if debug_url else ""),
        account_key=settings.account_key,
        console=console,
    )
    trust = WorkerTrust(ca_file=settings.worker_ca, console_url=settings.console_url, http=http)
    origin = Origin.parse(settings.autoscaler)
    asked = ConnectionPool(
        origin.endpoint(reactor, ASK_SECONDS),
        reactor,
        PoolLimits(idle_seconds=AUTOSCALER_IDLE_SECONDS, connections=AUTOSCALER_CONNECTIONS),
        name="autoscaler",
    )
    timer = CoarseTimer(reactor)
    autoscaler = AutoscalerClient(origin, asked, key, timer, random=random.random, on_wait=on_wait)
    reserve = RESERVE + AUTOSCALER_CONNECTIONS + (ADMIN_CONNECTIONS if settings.admin_listen else 0)
    shares = share_out(limit(), QUEUE_MAX, reserve)
    workers = WorkerPools(
        reactor,
        trust,
        connections=settings.max_connections_per_host,
        most=shares.connections,  # one for each caller, as the descriptors were shared out
        anywhere=settings.local_workers,
    )
    gate: FairQueue[Exchange] = FairQueue(None, settings.max_connections, QUEUE_MAX)
    guard = BrowserGuard(
        host=settings.host,
        token=settings.token,
        allow_hosts=settings.allow_hosts,
        allow_origins=settings.allow_origins,
        origin_setting="--allow-origin",
    )
    ended = EndedRequests(reactor)
    app = ClientApp(
        _policy(settings),
        autoscaler=autoscaler,
        workers=workers,
        gate=gate,
        guard=guard,
        timeouts=Timeouts(
            first_byte=settings.timeout, first_token=settings.first_token_timeout, idle=settings.idle_timeout
        ),
        observer=ended,
        debug_worker=DebugWorker(debug_url, settings.endpoint, reactor) if debug_url else None,
    )
    tell(shares, QUEUE_MAX)
    Pipes.most = shares.pipes
    server = Server(app, reactor, Limits(connections=most_callers(reactor, shares.connections), held_bytes=HELD_MAX))

    endpoint = parse(reactor, _endpoint(settings))
    listening = Listener(endpoint, server, settings.drain_timeout, app.drain, app.dismiss)
    tree = ClientService(listening, settings.host, app.sessions)
    parts = ClientParts(
        settings=settings,
        app=app,
        server=server,
        listening=listening,
        autoscaler=autoscaler,
        workers=workers,
        ended=ended,
    )
    children: list[IService] = [*observers(reactor, parts)]
    tree.admin = next((each for each in children if isinstance(each, AdminListener)), None)
    children += (Upstreams(workers.close, asked.close, agent.close), _Held(timer), app.sessions, listening)
    if settings.host == LOCALHOST:
        children.append(SecondListener(reactor, "::1", server, listening))
    for child in children:
        child.setServiceParent(tree)
    return tree


def _policy(settings: ClientSettings) -> Policy:
    return Policy(
        official=settings.dialect == "official",
        cost=DEFAULT_COST if settings.default_cost is None else settings.default_cost,
        cost_from_tokens=settings.cost_from_tokens and settings.default_cost is None,
        seconds=settings.timeout,
        attempts=settings.attempts,
        replay_bytes=settings.replay_bytes,
        passes=settings.passes,
        token=settings.token.encode("utf-8"),
        waiting_pings=settings.waiting_pings,
        stream_errors=settings.stream_errors,
        max_sessions=settings.max_sessions,
        session_lifetime=settings.session_lifetime,
        jobs="" if settings.jobs == "off" else settings.jobs,
    )


def _endpoint(settings: ClientSettings) -> str:
    host = settings.host.replace(":", "\\:")
    return f"tcp:port={settings.port}:interface={host}"
