"""The worker's application: the parts that a request passes, its own routes, and the backend for all others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IReactorTime
from twisted.web.server import Site

from vespa.accounting.ledger import Ledger
from vespa.accounting.replay_guard import ReplayGuard
from vespa.http.coarse_timer import CoarseTimer
from vespa.http.interfaces import RequestHandler
from vespa.http.resource import ResourceHandler
from vespa.http.server import Application
from vespa.http.server_connection import ServerConnection
from vespa.protocol.refusal import Refusal
from vespa.protocol.request_head import RequestHead
from vespa.protocol.via import Via
from vespa.proxy.app import App, draining
from vespa.proxy.browser_guard import BrowserGuard
from vespa.proxy.exchange import Exchange, open_exchange
from vespa.proxy.interfaces import RequestObserver
from vespa.proxy.server_options import ServerOptions
from vespa.proxy.server_timing import ServerTiming
from vespa.proxy.upgrade import Tunnels
from vespa.proxy.upstream_deadlines import Timeouts
from vespa.vast.auth import Auth
from vespa.worker.admin_routes import ADMIN_PATHS, AdminRoutes
from vespa.worker.admission import WorkerAdmission
from vespa.worker.engine.job_admission import JobAdmission
from vespa.worker.engine.job_polls import JobPolls
from vespa.worker.interfaces import Engine, SessionLookup, WorkerUpstreams
from vespa.worker.policy import Policy
from vespa.worker.request_unwrapping import RequestUnwrapping
from vespa.worker.response_readers import ReaderOf
from vespa.worker.sessions.messages import SESSION_PATHS

REPLAY_LIMIT: Final = 65536
"""The number of bytes of a request's body that are kept until the backend responds, for a second attempt."""
_ADMIN_BODY_MAX: Final = 65536
_OWN_PATHS: Final = ADMIN_PATHS | SESSION_PATHS


class WorkerApp:
    """
    The application that the worker's server serves.

    Every request for a proxied route passes the parts of `proxy`, in the order of this list: unwrap,
    verify and admit, select, send.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        upstreams: WorkerUpstreams,
        verify: Callable[[Auth], None],
        unready: Callable[[], Refusal | None],
        ledger: Ledger,
        replay: ReplayGuard,
        clock: IReactorTime,
        admin_routes: AdminRoutes,
        guard: BrowserGuard | None = None,
        timeouts: Timeouts | None = None,
        timer: CoarseTimer | None = None,
        tunnels: Tunnels | None = None,
        observer: RequestObserver[Exchange] | None = None,
        timing: ServerTiming | None = None,
        sessions: SessionLookup | None = None,
        engine: Engine | None = None,
        response_reader: ReaderOf | None = None,
        polls: JobPolls | None = None,
    ) -> None:
        """
        `upstreams` leads to the backends. `verify` raises `Refusal` for a bad signature.
        `unready` returns one while no request may pass. `guard` refuses web pages on a worker without signatures.
        `observer` is told of each request that has ended.
        `timing` adds Server-Timing to responses; the server then gets its `application`. `sessions` and `engine` are
        those of `WorkerAdmission`, and `response_reader` is that of `App`. `polls`: those of jobs, None without jobs.
        """
        via = Via()
        self.upstreams = upstreams
        self.body = RequestUnwrapping(
            secured=policy.secured,
            max_cost=policy.max_cost,
            max_unverified=policy.max_unverified,
            sessions=sessions is not None,
        )
        self.admission = WorkerAdmission(
            policy,
            verify=verify,
            unready=unready,
            plain_work=self.body.plain_work,
            gate=upstreams.gate,
            ledger=ledger,
            replay=replay,
            clock=clock,
            sessions=sessions,
            engine=engine,
        )
        upstreams.on_moved(self.admission.watch_queue)
        headers = upstreams.headers(policy, via, self.body.target)
        self.proxy = App(
            clock,
            body=self.body,
            admission=self.admission if polls is None else JobAdmission(self.admission, polls),
            upstreams=upstreams,
            headers=timing.headers(headers) if timing is not None else headers,
            responses=timing,
            via=via,
            replay_limit=REPLAY_LIMIT,
            verifies=policy.secured,
            timeouts=timeouts,
            timer=timer,
            tunnels=tunnels,
            observer=observer,
            response_reader=response_reader,
            stream_errors=policy.stream_errors,
        )
        self.session_routes: Application = no_session_routes
        """The application for `SESSION_PATHS`."""
        self.on_drain: list[Callable[[], object]] = []
        """Called when the worker begins to stop."""
        self._guard = guard
        self._site = Site(admin_routes.app.resource())  # for the few methods that a Twisted request calls

    def __call__(self, client: ServerConnection, head: RequestHead) -> RequestHandler:
        """The handler of a request. Raises `Refusal`."""
        target = head.target
        if self._guard is not None:
            self._guard.check_page(head)
        if target in _OWN_PATHS or target.partition(b"?")[0] in _OWN_PATHS:
            return self._answer(client, head)
        if head.plain:
            return Exchange(self.proxy, client, head)
        if target == b"*" or head.max_forwards == 0:
            return ServerOptions(client, head)
        return open_exchange(self.proxy, client, head)

    def _answer(self, client: ServerConnection, head: RequestHead) -> RequestHandler:
        """The handler of a request that the worker answers itself. Raises `Refusal`."""
        if head.target.partition(b"?")[0] in SESSION_PATHS:
            return self.session_routes(client, head)
        return ResourceHandler(client, head, self._site, _ADMIN_BODY_MAX)

    def drain(self) -> None:
        """The worker begins to stop: refuse every request from now on."""
        self.admission.unready = draining
        for begin in self.on_drain:
            begin()

    def dismiss(self) -> None:
        """Refuse all requests in the queue."""
        self.admission.dismiss()


def no_session_routes(client: ServerConnection, head: RequestHead) -> RequestHandler:
    """Raises Refusal 404 "no_sessions"."""
    raise Refusal(404, "no_sessions", "this worker has no sessions: VESPA_MAX_SESSIONS is 0")
