"""Where the time of a request went, for its caller: the field Server-Timing (W3C Server Timing)."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IReactorTime

from vespa.http.interfaces import RequestHandler
from vespa.http.server import Application
from vespa.http.server_connection import ServerConnection
from vespa.protocol.request_head import RequestHead
from vespa.protocol.response_head import ResponseHead
from vespa.proxy.interfaces import HeaderPolicy, ResponsePolicy
from vespa.proxy.proxied_request import ProxiedRequest


class ServerTiming:
    """
    Adds Server-Timing to every response that passes, and takes the times for it.

    A response then no longer passes as the bytes that came, so this is a setting.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._seconds = clock.seconds
        self._headers: HeaderPolicy[Any] | None = None

    def application(self, app: Application) -> Application:
        """The same application, which notes when a request's head came."""

        def open_request(client: ServerConnection, head: RequestHead) -> RequestHandler:
            handler = app(client, head)
            if isinstance(handler, ProxiedRequest):
                handler.arrived_at = self._seconds()
            return handler

        return open_request

    def headers(self, headers: HeaderPolicy[Any]) -> HeaderPolicy[Any]:
        """The same policy, which notes when a request is sent."""
        self._headers = headers
        return self

    def request_head(self, exchange: ProxiedRequest) -> bytes:
        """The head for the upstream."""
        assert self._headers is not None
        exchange.sent_at = self._seconds()
        return self._headers.request_head(exchange)

    def response_lines(self, exchange: ProxiedRequest, head: ResponseHead) -> bytes:
        """The upstream's fields, and Server-Timing."""
        if head.status < 200:
            return head.fields_block
        return head.fields_block + timing_line(exchange, self._seconds())


_check: type[HeaderPolicy[ProxiedRequest]] = ServerTiming
_check_too: type[ResponsePolicy[ProxiedRequest]] = ServerTiming


def timing_line(request: ProxiedRequest, now: float) -> bytes:
    """
    The field line of a response that begins now, with durations in milliseconds; b"" before the request was admitted.

    `queue` is the wait for a slot and `connect` that for a new connection. `backend` is the time from sending the
    request to the response, or to its failure. `proxy` is the rest, with the time in which the body came. It needs the
    times that `ServerTiming` takes.
    """
    received, started = request.received_at, request.started_at
    if not received:
        return b""
    queue = (started or now) - received
    found = [("queue", queue)]
    if request.connect_seconds:
        found.append(("connect", request.connect_seconds))
    if started:
        backend = now - (request.sent_at or started + request.connect_seconds)
        found.append(("backend", backend))
        if request.arrived_at and request.sent_at:
            found.append(("proxy", now - request.arrived_at - queue - request.connect_seconds - backend))
    # Not below 0, although a clock may have been set back.
    text = ", ".join(f"{name};dur={max(0.0, seconds) * 1000:.1f}" for name, seconds in found)
    return b"Server-Timing: %b\r\n" % text.encode("ascii")
