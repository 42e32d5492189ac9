"""How the worker itself reaches its backend and the autoscaler, beside the requests of clients: made from settings."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from attrs import frozen

from vespa.config.worker import WorkerSettings
from vespa.http.agent import Agent
from vespa.http.limits import PoolLimits
from vespa.protocol.urls import BaseURL
from vespa.runtime.http_client import BoundedClient
from vespa.runtime.trust import trust_roots
from vespa.transport.origin import Origin
from vespa.worker.readiness.health_probe import HealthProbe
from vespa.worker.readiness.served_model import ServedModel
from vespa.worker.reporting_client import ReportingClient


@frozen
class BackendAccess:
    """
    The backend, for probes and questions of the worker's own.

    `http` keeps no connections. `base` is the URL without a final slash. `trust` is a Twisted trust root, None for the
    system's. `probe` is None without a health path.
    """

    origin: Origin
    trust: Any
    http: BoundedClient
    base: str
    served: ServedModel
    probe: HealthProbe | None


def backend_access(
    reactor: Any, settings: WorkerSettings, environment: Mapping[str, str], backend: BaseURL | None = None
) -> BackendAccess:
    """
    One `backend` of `settings`; None: the first, which there must be. `environment` may name the model (MODEL_NAME).

    Raises OSError and ValueError for a file of roots that cannot be used.
    """
    backend = backend or settings.backend_url
    assert backend is not None  # the settings make sure of it
    origin = Origin.parse(backend.url)
    trust = trust_roots(settings.backend_ca_file)
    agent = Agent(
        reactor,
        connect_timeout=settings.healthcheck_timeout,
        persistent=False,
        trust=trust,
        unix_socket=origin.socket,
        name="backend",
    )
    base = f"{origin.scheme}://{origin.host_field.decode()}{origin.path_prefix.decode()}"
    authorization = settings.backend_authorization
    http = BoundedClient(agent, reactor, {"Authorization": authorization} if authorization else None)
    served = ServedModel(
        http,
        f"{base}/v1/models",
        timeout=settings.healthcheck_timeout,
        name=environment.get("MODEL_NAME", "").strip(),
    )
    probe: HealthProbe | None = None
    if settings.healthcheck_endpoint:
        probe = HealthProbe(
            http,
            base + settings.healthcheck_endpoint,
            timeout=settings.healthcheck_timeout,
            unix_socket=origin.socket,
            prefix=origin.path_prefix.decode(),
        )
    return BackendAccess(origin, trust, http, base, served, probe)


def autoscaler_access(reactor: Any, settings: WorkerSettings) -> tuple[ReportingClient, Agent]:
    """The client for reports and the key, and the agent whose connections it uses, which must be closed at the end."""
    most = (settings.metrics_connection_limit, settings.metrics_connection_limit_per_host)
    limits = PoolLimits(connections=min([limit for limit in most if limit], default=0))
    agent = Agent(reactor, connect_timeout=settings.metrics_timeout, limits=limits, name="autoscaler")
    autoscaler = ReportingClient(
        settings.report_addresses,
        BoundedClient(agent, reactor),
        random=random.random,
        timeout=settings.metrics_timeout,
        max_retries=settings.metrics_max_retries,
        retry_delay=settings.metrics_retry_delay,
    )
    return autoscaler, agent
