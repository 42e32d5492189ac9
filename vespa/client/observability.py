"""What shows a client proxy to its operators, made of the proxy's parts."""

from __future__ import annotations

from typing import Any

from attrs import frozen
from twisted.application.service import IService

from vespa.client.app import ClientApp
from vespa.client.autoscaler_client import AutoscalerClient
from vespa.client.worker_pools import WorkerPools
from vespa.config.client import ClientSettings
from vespa.config.schema import defaults
from vespa.http.server import Server
from vespa.observability.admin import admin_listener
from vespa.observability.ended_requests import EndedRequests
from vespa.observability.routes import Sources
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
    parts.server.on_refused = parts.ended.refused
    services: list[IService] = [parts.ended]
    settings = parts.settings
    if settings.admin_listen:
        sources = Sources(
            metrics=lambda accept: ("text/plain; version=0.0.4; charset=utf-8", b""),
            status=dict,
            event=dict,
            ready=lambda: readiness(parts),
            page=b"",
            set_level=process.set_level,
        )
        default = defaults(ClientSettings)["admin_listen"]
        services.insert(
            0,
            admin_listener(
                reactor,
                settings.admin_listen,
                settings.admin_token,
                sources,
                default=default,
                setting="--admin-listen",
            ),
        )
    return services


def readiness(parts: ClientParts) -> tuple[bool, str]:
    """Whether the proxy takes requests, and if not, why."""
    if parts.app.is_draining:
        return False, draining().message
    return (True, "") if parts.listening.port is not None else (False, "the proxy's port is not open")
