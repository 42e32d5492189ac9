"""The client's application: it refuses web pages, except allowed ones, and sends all other requests to a worker."""

from __future__ import annotations

from vespa.accounting.fair_queue import FairQueue
from vespa.client.admission import ClientAdmission
from vespa.client.autoscaler_client import AutoscalerClient
from vespa.client.debug_worker import DebugWorker
from vespa.client.envelope_writer import EnvelopeWriter
from vespa.client.jobs import APIS, Jobs
from vespa.client.pinning import RequestPinning
from vespa.client.policy import Policy
from vespa.client.request_headers import ClientRequestHeaders
from vespa.client.response_filter import ResponseFilter
from vespa.client.sessions.sessions import Sessions
from vespa.client.worker_pools import WorkerPools
from vespa.client.worker_selection import WorkerSelector
from vespa.http.interfaces import RequestHandler
from vespa.http.server_connection import ServerConnection
from vespa.protocol.request_head import RequestHead
from vespa.protocol.via import Via
from vespa.proxy.app import App, draining
from vespa.proxy.browser_guard import BrowserGuard
from vespa.proxy.cors import VARY, Preflight, cors_lines, is_preflight
from vespa.proxy.exchange import Exchange, open_exchange
from vespa.proxy.interfaces import RequestObserver
from vespa.proxy.server_options import ServerOptions
from vespa.proxy.upstream_deadlines import Timeouts


class ClientApp:
    """
    The application that the local server serves.

    Every request that the guard lets pass goes through the parts of `proxy`, in the order of this list: parse, admit,
    select, send. The response goes through the filter.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        autoscaler: AutoscalerClient,
        workers: WorkerPools,
        gate: FairQueue[Exchange],
        guard: BrowserGuard,
        timeouts: Timeouts | None = None,
        observer: RequestObserver[Exchange] | None = None,
        debug_worker: DebugWorker | None = None,
    ) -> None:
        """
        `timeouts` are for workers' responses. `observer` is told of each request that has ended. With a `debug_worker`
        the autoscaler is not asked.
        """
        via = Via()
        timer = autoscaler.timer
        self.admission = ClientAdmission(policy, gate, timer)
        self.selector = WorkerSelector(policy, autoscaler, workers, debug_worker.search if debug_worker else None)
        self.sessions = Sessions(self.selector, policy.max_sessions, policy.session_lifetime)
        api = APIS.get(policy.jobs)
        self.jobs = Jobs(self.selector, api)
        self.selector.pinning = RequestPinning(self.sessions, self.jobs)
        self.selector.looks_at_paths = api is not None
        self.proxy = App(
            timer.clock,
            body=EnvelopeWriter(policy),
            admission=self.admission,
            upstreams=self.selector,
            headers=ClientRequestHeaders(policy, via),
            responses=ResponseFilter(policy),
            via=via,
            replay_limit=policy.replay_bytes,
            verifies=False,
            timeouts=timeouts,
            timer=timer,
            observer=observer,
            stream_errors=policy.stream_errors,
            response_reader=self.jobs.reader if api is not None else None,
        )
        self.is_draining = False
        self._autoscaler = autoscaler
        self._guard = guard
        self._allows_origins = guard.allows_origins
        self._seconds = timer.clock.seconds

    def __call__(self, client: ServerConnection, head: RequestHead) -> RequestHandler:
        """The handler of a request. Raises `Refusal`."""
        if self._allows_origins:
            client.extra_lines = VARY
            client.plain = False
        origin = self._guard.check_page(head)
        if origin:
            client.extra_lines = cors_lines(origin)
            if is_preflight(head):
                return Preflight(client, head)
        self._guard.check_token(head)
        if head.target == b"*" or head.max_forwards == 0:
            return ServerOptions(client, head)
        if self.is_draining:
            raise draining()
        exchange = open_exchange(self.proxy, client, head)
        exchange.received_at = self._seconds()
        return exchange

    def drain(self) -> None:
        """Refuse every request from now on."""
        self.is_draining = True

    def dismiss(self) -> None:
        """Refuse all requests that wait for a slot or for a worker."""
        self.admission.dismiss()
        self._autoscaler.dismiss()
