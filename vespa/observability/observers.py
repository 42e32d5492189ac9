"""The services that show a proxy to its operators: access log, spans, and the admin port with status and metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import frozen
from twisted.application.service import IService

from vespa import __version__
from vespa.http.server import Server
from vespa.observability.access_log import Mode, log_requests
from vespa.observability.admin import admin_listener
from vespa.observability.ended_requests import EndedRequests
from vespa.observability.loop_lag import LoopLag
from vespa.observability.metrics import Metrics
from vespa.observability.proxy_metrics import LOOP_LAG
from vespa.observability.request_id import RequestIds
from vespa.observability.routes import Sources
from vespa.observability.span_export import export_spans
from vespa.observability.status import StatusDocument, page
from vespa.proxy.app import App
from vespa.runtime import process
from vespa.runtime.services import SurvivingLoop


@frozen(kw_only=True)
class Observed:
    """
    A proxy, and what its operators get to see of it.

    `name` is the proxy's in spans, `exports` whether there are any. `names_upstreams`: there may be several upstreams.
    `admin_listen` is an endpoint string, "" for no admin port. `admin_setting` is its name in messages, `admin_default`
    its default. `status` and `metrics` are called once, if there is an admin port. `ready` returns whether requests are
    served, and if not, why.
    """

    proxy: App
    server: Server
    ended: EndedRequests
    name: str
    access_log: Mode
    passes_ids: bool
    names_upstreams: bool
    exports: bool
    admin_listen: str
    admin_token: str
    admin_setting: str
    admin_default: str
    status: Callable[[], StatusDocument]
    metrics: Callable[[LoopLag], Metrics]
    ready: Callable[[], tuple[bool, str]]


def observe(reactor: Any, observed: Observed, random: Callable[[], float]) -> list[IService]:
    """
    The services that show the proxy. They start before its other services, and stop after them.

    `random` returns a number in [0, 1).
    """
    proxy, ended = observed.proxy, observed.ended
    observed.server.on_refused = ended.refused
    ids = RequestIds(random)
    access_log = log_requests(
        reactor,
        proxy,
        ended,
        ids,
        mode=observed.access_log,
        passes_ids=observed.passes_ids,
        names_upstreams=observed.names_upstreams,
    )
    services: list[IService] = [access_log, ended]
    if observed.exports:
        services.insert(0, export_spans(reactor, proxy, ended, ids, service=observed.name, version=__version__))
    if observed.admin_listen:
        services = _with_admin_port(reactor, observed, services)
    return services


def _with_admin_port(reactor: Any, observed: Observed, others: list[IService]) -> list[IService]:
    """The admin port before the other services, and what it shows after them."""
    status = observed.status()
    lag = LoopLag(reactor, LOOP_LAG.histogram())
    sources = Sources(
        metrics=observed.metrics(lag).render,
        status=status.document,
        event=status.event,
        ready=observed.ready,
        page=page(),
        set_level=process.set_level,
    )
    port = admin_listener(
        reactor,
        observed.admin_listen,
        observed.admin_token,
        sources,
        default=observed.admin_default,
        setting=observed.admin_setting,
    )
    status.admin_certificate = port.certificate
    seconds = SurvivingLoop(reactor, 1.0, status.tick, now=False, what="keeping the figures of a second")
    return [port, *others, seconds, lag]
