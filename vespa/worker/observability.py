"""What shows a worker to its operators, made of the worker's parts."""

from __future__ import annotations

from typing import Any

from attrs import frozen
from twisted.application.service import IService

from vespa.config.worker import WorkerSettings
from vespa.http.server import Server
from vespa.observability.ended_requests import EndedRequests
from vespa.proxy.listener import Listener
from vespa.transport.certificates import Expiry
from vespa.worker.app import WorkerApp
from vespa.worker.keyring import Keyring
from vespa.worker.readiness import ReadinessMonitor
from vespa.worker.reporter import Reporter


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
    readiness: ReadinessMonitor
    keyring: Keyring
    reporter: Reporter | None
    expiry: Expiry | None
    ended: EndedRequests


def observers(reactor: Any, parts: WorkerParts) -> list[IService]:
    """The services that show the worker. They start before its other services, and stop after them."""
    parts.server.on_refused = parts.ended.refused
    return [parts.ended]
