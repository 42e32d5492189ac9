"""The client's door: browsers out, but for pages that were allowed; everything else to a worker."""

from __future__ import annotations

from vespa.client.event_paths import has_event_path
from vespa.client.request_headers import fields_of
from vespa.client.sse_keepalive import SSEKeepalive
from vespa.http.server_request import Receiver, ServerRequest
from vespa.protocol.refusal import Refusal
from vespa.proxy.browser_guard import BrowserGuard
from vespa.proxy.cors import VARY, Preflight, answer_lines, is_preflight
from vespa.proxy.exchange import Exchange, Proxy
from vespa.proxy.server_options import ServerOptions


class ClientApp:
    """The application that the local server serves."""

    def __init__(self, proxy: Proxy, guard: BrowserGuard, *, pings: bool = False) -> None:
        """`pings`: callers that ask for a stream are told while they wait."""
        self._proxy = proxy
        self._guard = guard
        self._pings = pings
        self._allows_origins = guard.allows_origins
        self.draining = False

    def __call__(self, request: ServerRequest) -> Receiver:
        head = request.head
        if self._allows_origins:
            request.own_lines = VARY
        origin = self._guard.check_page(head)
        if origin:
            request.own_lines = answer_lines(origin)
            if is_preflight(head):
                return Preflight(request)
        self._guard.check_token(head)
        if head.target == b"*" or head.max_forwards == 0:
            return ServerOptions(request)
        if self.draining:
            raise Refusal(503, "draining", "the proxy is shutting down", retry_after=1)
        if self._pings and head.method != b"HEAD" and not request.upgrade:
            fields = fields_of(head)
            if fields.stream or (fields.json and has_event_path(head.target)):
                request = SSEKeepalive(request)
        return Exchange(self._proxy, request)
