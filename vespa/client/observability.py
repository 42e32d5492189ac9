"""What shows a client proxy to its operators, made of the proxy's parts."""

from __future__ import annotations

import random
from typing import Any

from attrs import frozen
from twisted.application.service import IService

from vespa import __version__
from vespa.client.app import ClientApp
from vespa.client.autoscaler_client import AutoscalerClient
from vespa.client.metrics import ClientSources, client_metrics
from vespa.client.status import ClientStatus
from vespa.client.worker_pools import WorkerPools
from vespa.config.client import ClientSettings
from vespa.config.effective import effective
from vespa.config.schema import defaults
from vespa.http.server import Server
from vespa.observability.access_log import mode_of
from vespa.observability.ended_requests import EndedRequests
from vespa.observability.loop_lag import LoopLag
from vespa.observability.metrics import Metrics
from vespa.observability.observers import Observed, observe
from vespa.observability.proxy_metrics import ProxyParts
from vespa.observability.recent_requests import RecentRequests, row
from vespa.observability.status import StatusDocument
from vespa.proxy.app import draining
from vespa.proxy.listener import Listener
from vespa.runtime import process


@frozen(kw_only=True)
class ClientParts:
    """
    The parts of a client proxy that operators see.

    They know nothing of it: what shows them reads their public attributes.
    """

    settings: ClientSettings
    app: ClientApp
    server: Server
    listening: Listener
    autoscaler: AutoscalerClient
    workers: WorkerPools
    ended: EndedRequests


def observers(reactor: Any, parts: ClientParts) -> list[IService]:
    """The services that show the proxy. They start before its other services, and stop after them."""
    settings = parts.settings
    observed = Observed(
        proxy=parts.app.proxy,
        server=parts.server,
        ended=parts.ended,
        name="vespa-client",
        access_log=mode_of(settings.access_log, debug=settings.debug),
        passes_ids=settings.request_id,
        names_upstreams=True,
        exports=bool(settings.otlp_endpoint),
        admin_listen=settings.admin_listen,
        admin_token=settings.admin_token,
        admin_setting="--admin-listen",
        admin_default=defaults(ClientSettings)["admin_listen"],
        status=lambda: status_document(reactor, parts),
        metrics=lambda lag: _metrics(reactor, parts, lag),
        ready=lambda: readiness(parts),
    )
    return observe(reactor, observed, random.random)


def status_document(reactor: Any, parts: ClientParts) -> StatusDocument:
    """The status, which gets each request that ends."""
    settings = parts.settings
    status = ClientStatus(
        clock=reactor,
        autoscaler=parts.autoscaler,
        workers=parts.workers,
        sessions=parts.app.sessions,
        jobs=parts.app.jobs,
        gate=parts.app.admission.gate,
        server=parts.server,
        autoscaler_url=settings.autoscaler,
        url=lambda: _url(parts),
    )
    requests = RecentRequests(row)
    parts.ended.subscribe(requests.take)
    return StatusDocument(
        status,
        requests,
        reactor,
        version=__version__,
        settings=effective(settings),
        secrets=[settings.endpoint_key, settings.account_key, settings.token, settings.admin_token],
        log_level=process.level,
    )


def _url(parts: ClientParts) -> str:
    """Where callers on this machine reach the proxy; "" before it listens."""
    port, host = parts.listening.port, parts.settings.host
    return "" if port is None else f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _metrics(reactor: Any, parts: ClientParts, lag: LoopLag) -> Metrics:
    app, workers = parts.app, parts.workers
    return client_metrics(
        ClientSources(
            autoscaler=parts.autoscaler,
            selector=app.selector,
            workers=workers,
            sessions=app.sessions,
            jobs=app.jobs,
            seconds=reactor.seconds,
        ),
        ProxyParts(
            gate=app.admission.gate,
            server=parts.server,
            tunnels=app.proxy.tunnels,
            ready=lambda: readiness(parts)[0],
            lag=lag.lag,
            pools=workers.pools,
            pool_limit=workers.connections,
            pool_counts=workers.counts,
        ),
        parts.ended,
    )


def readiness(parts: ClientParts) -> tuple[bool, str]:
    """Whether the proxy takes requests, and if not, why."""
    if parts.app.is_draining:
        return False, draining().message
    return (True, "") if parts.listening.port is not None else (False, "the proxy's port is not open")
