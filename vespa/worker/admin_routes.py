"""The routes that the worker answers itself, by Klein; every other path is proxied."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from klein import Klein
from twisted.web.iweb import IRequest

from vespa.protocol.refusal import Refusal

ADMIN_PATHS: Final = frozenset((b"/ping", b"/pyworker/update"))
"""Paths that are answered here; a backend's own routes of these names cannot be reached."""


class AdminRoutes:
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
