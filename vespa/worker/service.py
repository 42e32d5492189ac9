"""The worker's services, made from the settings, in the order in which they start."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from twisted.application.service import IService
from twisted.logger import Logger

from vespa.accounting.ledger import Ledger
from vespa.accounting.replay_guard import ReplayGuard
from vespa.accounting.workload import MAX_COST
from vespa.config.worker import WorkerSettings
from vespa.http.agent import Agent
from vespa.http.coarse_timer import CoarseTimer
from vespa.http.server import Server
from vespa.observability.ended_requests import EndedRequests
from vespa.proxy.certificate_renewal import renewal
from vespa.proxy.listener import Listener, Upstreams
from vespa.proxy.server_timing import ServerTiming
from vespa.proxy.upgrade import Tunnels
from vespa.proxy.upstream_deadlines import Timeouts
from vespa.runtime.http_client import BoundedClient
from vespa.runtime.secret import secret_forms
from vespa.runtime.service_manager import service_manager
from vespa.runtime.services import InOrder
from vespa.transport.certificates import Expiry
from vespa.transport.listen import parse
from vespa.vast.status_report import Condition
from vespa.worker.access import autoscaler_access
from vespa.worker.admin_routes import AdminRoutes
from vespa.worker.app import WorkerApp
from vespa.worker.backends.setup import backend_parts
from vespa.worker.engine.setup import engine_parts
from vespa.worker.keyring import Keyring
from vespa.worker.listening import guard, limits
from vespa.worker.observability import WorkerParts, observers
from vespa.worker.obstacles import listen_problem, unreachable
from vespa.worker.optional_parts import OptionalParts
from vespa.worker.policy import Policy
from vespa.worker.reporter import Reporter, failure_reporter
from vespa.worker.reporting_client import ReportingClient
from vespa.worker.response_readers import combined
from vespa.worker.service_state import service_state
from vespa.worker.sessions.setup import session_parts
from vespa.worker.usage.setup import usage_parts

MAX_COST_SECONDS: Final = 600.0
"""The highest cost of one request, in seconds of the measured throughput, if VESPA_MAX_COST is not set."""


def make_worker(reactor: Any, settings: WorkerSettings, environment: Mapping[str, str]) -> IService:
    """
    The whole worker. Raises ValueError for files that cannot be used.

    `environment` is this process's: the benchmark gets it, and a service manager is named in it.
    """
    ledger = Ledger(settings.delete_backlog)
    autoscaler, speaking = autoscaler_access(reactor, settings)
    keyring = Keyring(
        autoscaler,
        reactor,
        settings.signature,
        random=random.random,
        retries=settings.pubkey_max_retries,
        timeout=settings.pubkey_timeout,
    )

    highest = 0.0  # the limit of a cost does not fall with the sum, when one of several backends is lost

    def measured(throughput: float) -> None:
        nonlocal highest
        highest = max(highest, throughput)
        if settings.max_cost is None:
            app.body.max_cost = MAX_COST_SECONDS * highest
            usage.limit(app.body.max_cost)

    backend = backend_parts(reactor, settings, environment, measured)
    readiness = backend.readiness
    engine = engine_parts(reactor, settings, backend)
    timer = CoarseTimer(reactor)
    ended = EndedRequests(reactor)
    usage = usage_parts(reactor, settings, environment, ledger, backend, ended)
    timing = ServerTiming(reactor) if settings.server_timing else None
    sessions = session_parts(reactor, settings, ledger, backend.first)
    app = WorkerApp(
        Policy(
            secured=settings.secured,
            public_url=settings.public_url if settings.check_url else "",
            max_cost=settings.max_cost or MAX_COST,
            max_unverified=settings.max_unverified,
            queue_seconds=settings.queue_timeout,
            queue_pings=settings.queue_pings,
            stream_errors=settings.stream_errors,
            authorization=settings.backend_authorization,
        ),
        upstreams=backend.upstreams,
        verify=keyring.verify,
        unready=readiness.refusal,
        ledger=ledger,
        replay=ReplayGuard(settings.replay_capacity, settings.replay),
        clock=reactor,
        admin_routes=AdminRoutes(settings.master_token, Path(settings.force_update_file).touch),
        guard=guard(settings),
        timeouts=Timeouts(
            first_byte=settings.backend_first_byte_timeout,
            idle=settings.backend_idle_timeout,
            total=settings.backend_total_timeout,
        ),
        timer=timer,
        tunnels=Tunnels(timer, settings.max_tunnels, settings.tunnel_idle_timeout),
        observer=ended,
        timing=timing,
        engine=engine.aborts,
        response_reader=combined(engine.reader, usage.reader),
        polls=engine.polls,
        sessions=sessions.sessions,
    )
    server = Server(timing.application(app) if timing is not None else app, reactor, limits(settings))
    endpoint = parse(reactor, settings.endpoint)

    listening = Listener(endpoint, server, settings.drain_timeout, app.drain, app.dismiss)

    def obstacle() -> str:
        if listening.error is not None:
            return listen_problem(settings, listening.error)
        return unreachable(settings) if settings.report_addresses else ""  # on one's own machine nobody is sent to it

    def condition() -> Condition:
        if problem := obstacle():
            # Even if the backend is healthy: the autoscaler would send this worker requests that never arrive.
            return Condition(0.0, 0.0, error_msg=problem, ready=False)
        return usage.condition(readiness.condition())

    children: list[IService] = [Upstreams(backend.close, speaking.close)]
    reporter: Reporter | None = None
    expiry: Expiry | None = None
    if settings.identity is not None and settings.report_addresses:
        if problem := unreachable(settings):
            Logger(namespace="vespa.worker.service").error("{problem}", problem=problem)
        reporter = Reporter(
            autoscaler,
            ledger,
            condition,
            settings.identity,
            reactor,
            random=random.random,
            report_interval=settings.metrics_update_interval,
            delete_interval=settings.delete_requests_interval,
        )
        children += (reporter, keyring)
    children += (readiness, *sessions.connect(app), *usage.services)
    certificate = getattr(endpoint, "context_source", None)
    if certificate is not None:
        expiry = Expiry(certificate, reactor.seconds)  # epoch seconds
        children.append(renewal(reactor, certificate, expiry, "the look at the certificate"))
    children += (*engine.connect(app), listening)
    parts = WorkerParts(
        settings=settings,
        app=app,
        server=server,
        listening=listening,
        readiness=readiness,
        keyring=keyring,
        autoscaler=autoscaler,
        reporter=reporter,
        expiry=expiry,
        ended=ended,
        optional=OptionalParts(
            backends=backend.several,
            affinity=backend.affinity,
            sessions=sessions.sessions,
            usage=usage.meter,
            recalibration=usage.recalibration,
            aborts=engine.aborts,
            jobs=engine.jobs,
            polls=engine.polls,
        ),
    )
    children = [*observers(reactor, parts), *children]
    secrets = (settings.master_token, settings.admin_token, *secret_forms(settings.backend_authorization))
    manager = service_manager(environment, reactor, lambda: service_state(readiness, obstacle()), *secrets)
    if manager is not None:
        children = [manager, *children, manager.at_stop]
    tree = InOrder()
    for child in children:
        child.setServiceParent(tree)
    return tree


def make_failure_reporter(reactor: Any, settings: WorkerSettings, message: str) -> IService:
    """A service for a worker that cannot start: it reports `message` every ten seconds."""
    identity = settings.identity
    assert identity is not None
    agent = Agent(reactor, persistent=False, name="autoscaler")
    autoscaler = ReportingClient(settings.report_addresses, BoundedClient(agent, reactor), random=random.random)
    return failure_reporter(autoscaler, message, identity, reactor, random=random.random)
