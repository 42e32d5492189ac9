"""The door: a few routes of our own, by Klein; every other path is proxied."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from klein import Klein
from twisted.web.iweb import IRequest
from twisted.web.server import Site

from vespa.http.resource import ResourceReceiver
from vespa.http.server_request import Receiver, ServerRequest
from vespa.protocol.refusal import Refusal
from vespa.proxy.browser_guard import Guard
from vespa.proxy.exchange import Exchange, Proxy
from vespa.proxy.server_options import ServerOptions

OWN_PATHS: Final = frozenset((b"/ping", b"/pyworker/update"))
"""Paths that are answered here; a backend's own routes of these names cannot be reached."""

_BODY_MAX: Final = 65536


class OwnRoutes:
    """What Vespa answers itself."""

    app = Klein()

    def __init__(self, master_token: str, update: Callable[[], None]) -> None:
        """`update` is called when Vast asks for an update with the right token; an empty token never is."""
        self._token = master_token.encode("utf-8")
        self._update = update

    @app.route("/ping", methods=["GET", "HEAD"])
    def ping(self, request: IRequest) -> bytes:
        """Whether the worker's process is there; says nothing about the backend."""
        request.setHeader(b"Content-Type", b"text/plain")
        request.setHeader(b"Content-Length", b"4")
        return b"pong"

    @app.route("/pyworker/update", methods=["POST"])
    def pyworker_update(self, request: IRequest) -> bytes:
        """Ask the machine to fetch its worker's code anew at the next start."""
        given: bytes = request.getHeader(b"authorization") or b""
        if given[:7].lower() == b"bearer ":
            given = given[7:].strip()
        if not self._token or not hmac.compare_digest(given, self._token):
            return _refuse(request, Refusal(401, "unauthorized", "the token is missing or wrong"))
        self._update()
        request.setHeader(b"Content-Type", b"application/json")
        return b'{"ok": true}'

    @app.handle_errors(Exception)
    def no_such_method(self, request: IRequest, failure: Any) -> bytes:
        """Klein's own errors (405), as ours."""
        code = getattr(failure.value, "code", 500)
        if code == 500:
            failure.raiseException()
        allow = ", ".join(sorted(getattr(failure.value, "valid_methods", None) or ()))
        message = "this path is not served with this method"
        return _refuse(request, Refusal(code, "method_not_allowed", message, allow=allow))


def _refuse(request: Any, refusal: Refusal) -> bytes:
    request.setResponseCode(refusal.status)
    for name, value in refusal.header_list():
        request.setHeader(name, value)
    return refusal.body()


def touch(path: str) -> Callable[[], None]:
    """An `update` that leaves a file for the machine's supervisor."""
    return lambda: Path(path).touch()


class Door:
    """The application that the server serves."""

    def __init__(self, proxy: Proxy, own: OwnRoutes, guard: Guard | None = None) -> None:
        """`guard` keeps the pages of browsers out, where no signature does."""
        self._proxy = proxy
        self._guard = guard
        self._site = Site(own.app.resource())  # only what a Twisted request asks of one

    def __call__(self, request: ServerRequest) -> Receiver:
        if self._guard is not None:
            self._guard.check_page(request.head)
        target = request.head.target
        if target in OWN_PATHS or target.partition(b"?")[0] in OWN_PATHS:
            return ResourceReceiver(request, self._site, _BODY_MAX)
        if target == b"*" or request.head.max_forwards == 0:
            return ServerOptions(request)
        return Exchange(self._proxy, request)
