"""What shows a client proxy to its operators, made of the proxy's parts."""

from __future__ import annotations

from typing import Any

from attrs import frozen
from twisted.application.service import IService

from vespa.client.app import ClientApp
from vespa.client.autoscaler_client import AutoscalerClient
from vespa.client.worker_pools import WorkerPools
from vespa.config.client import ClientSettings
from vespa.http.server import Server
from vespa.observability.ended_requests import EndedRequests
from vespa.proxy.listener import Listener


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
    return [parts.ended]
