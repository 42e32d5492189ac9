"""The worker's own routes, by Klein. Every other path is proxied."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Any, Final

from klein import Klein
from twisted.web.iweb import IRequest

from vespa.protocol.refusal import Refusal

ADMIN_PATHS: Final = frozenset((b"/ping", b"/pyworker/update"))
"""The paths that the worker answers itself. Clients cannot reach a backend's own routes with these names."""


class AdminRoutes:
    """The routes that Vespa answers itself."""

    app = Klein()

    def __init__(self, master_token: str, update: Callable[[], None]) -> None:
        """`update` is called when Vast requests an update with the right token. An empty token is never right."""
        self._token = master_token.encode("utf-8")
        self._update = update

    @app.route("/ping", methods=["GET", "HEAD"])
    def ping(self, request: IRequest) -> bytes:
        """Show that the worker's process is running. Says nothing about the backend."""
        request.setHeader(b"Content-Type", b"text/plain")
        request.setHeader(b"Content-Length", b"4")
        return b"pong"

    @app.route("/pyworker/update", methods=["POST"])
    def pyworker_update(self, request: IRequest) -> bytes:
        """Let the machine fetch its worker's code again at the next start."""
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
        """Turn Klein's own errors (405) into ours."""
        code = getattr(failure.value, "code", 500)
        if code == 500:
            failure.raiseException()
        allow = ", ".join(sorted(getattr(failure.value, "valid_methods", None) or ()))
        message = "this path does not support this method"
        return _refuse(request, Refusal(code, "method_not_allowed", message, allow=allow))


def _refuse(request: Any, refusal: Refusal) -> bytes:
    request.setResponseCode(refusal.status)
    for name, value in refusal.header_list():
        request.setHeader(name, value)
    return refusal.body()
