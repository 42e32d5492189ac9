"""What shows a worker to its operators, made of the worker's parts."""

from __future__ import annotations

import random
from typing import Any

from attrs import frozen
from twisted.application.service import IService

from vespa import __version__
from vespa.config.effective import effective
from vespa.config.schema import defaults
from vespa.config.worker import WorkerSettings
from vespa.http.server import Server
from vespa.observability.access_log import mode_of
from vespa.observability.ended_requests import EndedRequests
from vespa.observability.loop_lag import LoopLag
from vespa.observability.metrics import Metrics
from vespa.observability.observers import Observed, observe
from vespa.observability.proxy_metrics import ProxyParts
from vespa.observability.recent_requests import RecentRequests, row
from vespa.observability.status import StatusDocument
from vespa.proxy.listener import Listener
from vespa.runtime import process
from vespa.runtime.secret import secret_forms
from vespa.transport.certificates import Expiry
from vespa.worker.app import WorkerApp
from vespa.worker.keyring import Keyring
from vespa.worker.metrics import WorkerSources, worker_metrics
from vespa.worker.obstacles import unreachable
from vespa.worker.optional_parts import OptionalParts
from vespa.worker.readiness.history import Readiness
from vespa.worker.reporter import Reporter
from vespa.worker.reporting_client import ReportingClient
from vespa.worker.status import WorkerStatus


@frozen(kw_only=True)
class WorkerParts:
    """
    The parts of a worker that operators see. They know nothing of it: what shows them reads their public attributes.

    `reporter` is None without reports, `expiry` without a certificate of the worker's own.
    """

    settings: WorkerSettings
    app: WorkerApp
    server: Server
    listening: Listener
    readiness: Readiness
    keyring: Keyring
    autoscaler: ReportingClient
    reporter: Reporter | None
    expiry: Expiry | None
    ended: EndedRequests
    optional: OptionalParts


def observers(reactor: Any, parts: WorkerParts) -> list[IService]:
    """The services that show the worker. They start before its other services, and stop after them."""
    settings = parts.settings
    observed = Observed(
        proxy=parts.app.proxy,
        server=parts.server,
        ended=parts.ended,
        name="vespa-worker",
        access_log=mode_of(settings.access_log, debug=settings.log_level == "debug"),
        passes_ids=settings.request_id,
        names_upstreams=parts.optional.backends is not None,
        exports=bool(settings.otlp_endpoint),
        admin_listen=settings.admin_listen,
        admin_token=settings.admin_token,
        admin_setting="VESPA_ADMIN_LISTEN",
        admin_default=defaults(WorkerSettings)["admin_listen"],
        status=lambda: status_document(reactor, parts),
        metrics=lambda lag: _metrics(reactor, parts, lag),
        ready=lambda: readiness(parts),
    )
    return observe(reactor, observed, random.random)


def status_document(reactor: Any, parts: WorkerParts) -> StatusDocument:
    """The status, which gets each request that ends."""
    settings, admission = parts.settings, parts.app.admission
    status = WorkerStatus(
        clock=reactor,
        readiness=parts.readiness,
        admission=admission,
        pools=parts.app.upstreams.pools,
        server=parts.server,
        tunnels=parts.app.proxy.tunnels,
        autoscaler=parts.autoscaler,
        backend_url=settings.backend_names,
        public_url=settings.public_url,
        keyring=parts.keyring if settings.secured else None,
        reporter=parts.reporter,
        certificate=parts.expiry.certificate if parts.expiry is not None else None,
        obstacle=lambda: unreachable(settings) if parts.reporter is not None else "",
        optional=parts.optional,
    )
    requests = RecentRequests(row)
    parts.ended.subscribe(requests.take)
    secrets = [settings.master_token, settings.admin_token, *secret_forms(settings.backend_authorization)]
    return StatusDocument(
        status,
        requests,
        reactor,
        version=__version__,
        settings=effective(settings),
        secrets=secrets,
        log_level=process.level,
    )


def _metrics(reactor: Any, parts: WorkerParts, lag: LoopLag) -> Metrics:
    app, expiry = parts.app, parts.expiry
    pools = app.upstreams.pools
    return worker_metrics(
        WorkerSources(
            admission=app.admission,
            readiness=parts.readiness,
            keyring=parts.keyring if parts.settings.secured else None,
            reporter=parts.reporter,
            certificate=expiry.certificate if expiry is not None else None,
            seconds=reactor.seconds,
            optional=parts.optional,
        ),
        ProxyParts(
            gate=app.admission.gate,
            server=parts.server,
            tunnels=app.proxy.tunnels,
            ready=lambda: readiness(parts)[0],
            lag=lag.lag,
            pools=lambda: pools,
            pool_limit=sum(pool.limits.connections for pool in pools),
            pool_counts=pools[0].counts,
        ),
        parts.ended,
    )


def readiness(parts: WorkerParts) -> tuple[bool, str]:
    """Whether the worker serves requests, and if not, why."""
    if parts.reporter is not None and (problem := unreachable(parts.settings)):
        return False, problem
    refusal = parts.app.admission.unready()
    if refusal is not None:
        return False, refusal.message
    keyring = parts.keyring
    if parts.settings.secured and not keyring.has_key:
        return False, f"the autoscaler's public key is not fetched yet{keyring.trouble and ': '}{keyring.trouble}"
    return True, ""
