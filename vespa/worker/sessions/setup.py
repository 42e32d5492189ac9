"""The parts of sessions, made from the settings."""

from __future__ import annotations

import secrets
from typing import Any

from attrs import frozen
from twisted.application.service import IService

from vespa.accounting.ledger import Ledger
from vespa.config.worker import WorkerSettings
from vespa.http.coarse_timer import CoarseTimer
from vespa.http.connection_pool import ConnectionPool
from vespa.http.limits import PoolLimits
from vespa.transport.origin import Origin
from vespa.worker.access import BackendAccess
from vespa.worker.app import WorkerApp
from vespa.worker.backends.backends import Backends
from vespa.worker.sessions.admission import SessionAdmission
from vespa.worker.sessions.bodies import SessionBodies
from vespa.worker.sessions.callback import Callbacks
from vespa.worker.sessions.messages import END, SESSION_PATHS
from vespa.worker.sessions.port import SessionPort
from vespa.worker.sessions.routes import SessionResponses, SessionRoutes
from vespa.worker.sessions.sessions import Sessions
from vespa.worker.sessions.table import SessionTable


@frozen
class SessionParts:
    """A worker's sessions; None if there are none. `port` is that of `serve_sessions`."""

    sessions: Sessions | None
    _reactor: Any
    _port: int

    def connect(self, app: WorkerApp) -> list[IService]:
        """Let them act on this application. Returns the services."""
        return serve_sessions(self._reactor, self._port, app, self.sessions)


def session_parts(reactor: Any, settings: WorkerSettings, ledger: Ledger, backend: BackendAccess) -> SessionParts:
    """The sessions that the settings allow. `backend` is the first if there are several."""
    sessions = _sessions(reactor, settings, ledger, backend) if settings.max_sessions else None
    return SessionParts(sessions, reactor, settings.session_port)


def _sessions(reactor: Any, settings: WorkerSettings, ledger: Ledger, backend: BackendAccess) -> Sessions:

    def connect(origin: Origin) -> ConnectionPool:
        endpoint = origin.endpoint(reactor, settings.backend_connect_timeout, backend.trust)
        return ConnectionPool(endpoint, reactor, PoolLimits(idle_seconds=0))

    table = SessionTable(settings.max_sessions, settings.max_session_lifetime, _new_id)
    sender = Callbacks(connect, backend.origin, CoarseTimer(reactor), settings.backend_authorization)
    return Sessions(table, ledger, sender, reactor, settings.drain_timeout)


def serve_sessions(reactor: Any, port: int, app: WorkerApp, sessions: Sessions | None) -> list[IService]:
    """
    Let `app` answer the requests for sessions. Returns the services, in the order in which they start.

    `port` is that of the backend's own requests, 0 for none.
    """
    if sessions is None:
        return []
    bodies = SessionBodies(lambda: app.body.max_cost, sessions.table.longest_lifetime)
    admission = SessionAdmission(app.admission, sessions, secured=app.proxy.verifies)
    app.session_routes = SessionRoutes(app.proxy, bodies, admission, SessionResponses(sessions), *SESSION_PATHS)
    app.on_drain.append(sessions.drain)
    if isinstance(app.upstreams, Backends):
        app.upstreams.on_lost = sessions.lost
    if not port:
        return [sessions]
    responses = SessionResponses(sessions, waits=False)
    plain = SessionPort(reactor, port, SessionRoutes(app.proxy, bodies, admission, responses, END))
    sessions.on_open = plain.open
    return [plain, sessions]


def _new_id() -> str:
    """128 random bits."""
    return secrets.token_hex(16)
