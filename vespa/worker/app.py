"""The worker's application: its own routes, and everything else to the backend."""

from __future__ import annotations

from typing import Final

from twisted.web.server import Site

from vespa.http.resource import ResourceReceiver
from vespa.http.server_request import Receiver, ServerRequest
from vespa.proxy.browser_guard import BrowserGuard
from vespa.proxy.exchange import Exchange, Proxy
from vespa.proxy.server_options import ServerOptions
from vespa.worker.admin_routes import ADMIN_PATHS, AdminRoutes

_BODY_MAX: Final = 65536


class WorkerApp:
    """The application that the server serves."""

    def __init__(self, proxy: Proxy, own: AdminRoutes, guard: BrowserGuard | None = None) -> None:
        """`guard` keeps the pages of browsers out, where no signature does."""
        self._proxy = proxy
        self._guard = guard
        self._site = Site(own.app.resource())  # only what a Twisted request asks of one

    def __call__(self, request: ServerRequest) -> Receiver:
        if self._guard is not None:
            self._guard.check_page(request.head)
        target = request.head.target
        if target in ADMIN_PATHS or target.partition(b"?")[0] in ADMIN_PATHS:
            return ResourceReceiver(request, self._site, _BODY_MAX)
        if target == b"*" or request.head.max_forwards == 0:
            return ServerOptions(request)
        return Exchange(self._proxy, request)
