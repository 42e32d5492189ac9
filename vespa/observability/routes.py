"""
The application of the admin port: its routes, and who may use each.

Not by Klein, which imports the global reactor: the client may run within a program that has another one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from attrs import frozen
from twisted.internet.interfaces import IReactorTime

from vespa.http.interfaces import RequestHandler
from vespa.http.server_connection import ServerConnection
from vespa.observability.admin_access import AdminAccess
from vespa.observability.content_security import content_security_policy
from vespa.observability.event_stream import EventStream, EventStreams
from vespa.observability.responses import Reply, Respond, Response, to_json
from vespa.protocol.refusal import Refusal
from vespa.protocol.request_head import RequestHead
from vespa.proxy.server_options import ServerOptions

_ALWAYS: Final = (
    b"Cache-Control: no-store\r\n"
    b"X-Content-Type-Options: nosniff\r\n"
    b"Referrer-Policy: same-origin\r\n"
    b"Cross-Origin-Resource-Policy: same-origin\r\n"
)
_TEXT: Final = b"text/plain; charset=utf-8"
_HTML: Final = b"text/html; charset=utf-8"
_JSON: Final = b"application/json"
_SIGN_IN: Final = b"""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Vespa</title>
<style>:root{color-scheme:light dark}body{font:1rem/1.5 system-ui,sans-serif;max-width:24rem;margin:20vh auto;
padding:0 1rem}input,button{font:inherit;padding:.4rem .6rem}</style>
<form method="get" action="/"><p><label for="token">The admin token of this Vespa:</label></p>
<p><input id="token" name="token" type="password" required autofocus> <button>Open</button></p></form>
<p>It is the value of VESPA_ADMIN_TOKEN (of VESPA_CLIENT_ADMIN_TOKEN for the client).</p></html>
"""


@frozen(kw_only=True)
class Sources:
    """
    Where the routes get what they show, when it is asked for.

    `metrics` takes the value of Accept, and returns the content type and the text. `status` returns the document of
    `/status.json`, and `event` the shorter one that `/events` sends each second. `ready` returns whether requests are
    served, and if not, the reason in words. `page` is the page's HTML. `set_level` takes the name of a log level, and
    raises ValueError for an unknown one.
    """

    metrics: Callable[[str], tuple[str, bytes]]
    status: Callable[[], Mapping[str, Any]]
    event: Callable[[], Mapping[str, Any]]
    ready: Callable[[], tuple[bool, str]]
    page: bytes
    set_level: Callable[[str], None]


Handle = Callable[[ServerConnection, RequestHead], RequestHandler]


class Routes:
    """The application that the admin port serves."""

    def __init__(self, sources: Sources, access: AdminAccess, clock: IReactorTime) -> None:
        self._sources = sources
        self._access = access
        self._page_lines = _policy_line(sources.page)
        self.streams = EventStreams(clock, lambda: to_json(sources.event()))
        self._routes: dict[bytes, tuple[bytes, Handle]] = {
            b"/": (b"GET", _by(self._page)),
            b"/healthz": (b"GET", _by(lambda head, body: Reply(_TEXT, b"ok\n"))),
            b"/readyz": (b"GET", _by(self._ready)),
            b"/metrics": (b"GET", _by(self._metrics)),
            b"/status.json": (b"GET", _by(lambda head, body: Reply(_JSON, self._status() + b"\n"))),
            b"/events": (b"GET", partial(EventStream, streams=self.streams)),
            b"/log-level": (b"POST", _by(self._set_level)),
        }

    def __call__(self, client: ServerConnection, head: RequestHead) -> RequestHandler:
        """The handler of a request. Raises `Refusal`."""
        client.extra_lines = _ALWAYS
        self._access.check_page(head)
        if head.target == b"*":
            return ServerOptions(client, head)
        path, _, query = head.target.partition(b"?")
        if path not in _OPEN and self._access.has_token:
            if path == b"/" and head.method in _READING:
                return Response(client, head, lambda head, body: self._sign_in(head, query))
            if not self._access.is_allowed(head):
                raise _token_required()
        method, handle = self._routes.get(path, (b"", None))
        if handle is None:
            raise Refusal(404, "not_found", f"there is no such path; these are: {', '.join(self.paths)}")
        if head.method != method and not (head.head_only and method == b"GET"):
            allow = "GET, HEAD" if method == b"GET" else method.decode()
            raise Refusal(405, "method_not_allowed", "this path does not support this method", allow=allow)
        return handle(client, head)

    @property
    def paths(self) -> list[str]:
        """Every path, for people."""
        return [path.decode() for path in self._routes]

    # -- the routes

    def _page(self, head: RequestHead, body: bytes) -> Reply:
        return Reply(_HTML, self._sources.page, lines=self._page_lines)

    def _ready(self, head: RequestHead, body: bytes) -> Reply:
        """Whether requests are served. Without the token, where one is needed, nothing more."""
        is_ready, reason = self._sources.ready()
        if not self._access.is_allowed(head):
            reason = ""
        status = 200 if is_ready else 503
        if _JSON in _accept(head):
            return Reply(_JSON, to_json({"ready": is_ready, "reason": reason}) + b"\n", status)
        words = ": ".join(filter(None, ("ready" if is_ready else "not ready", reason)))
        return Reply(_TEXT, words.encode("utf-8") + b"\n", status)

    def _metrics(self, head: RequestHead, body: bytes) -> Reply:
        content_type, text = self._sources.metrics(_accept(head).decode("latin-1"))
        return Reply(content_type.encode("ascii"), text)

    def _set_level(self, head: RequestHead, body: bytes) -> Reply:
        level = body.decode("utf-8", "replace").strip()
        try:
            self._sources.set_level(level)
        except ValueError as error:
            raise Refusal(422, "invalid_level", str(error)) from None
        return Reply(_JSON, to_json({"level": level}) + b"\n")

    def _sign_in(self, head: RequestHead, query: bytes) -> Reply:
        """The page; if the URL has the token, to the page without it; without any, a form for it."""
        cookie = self._access.sign_in(query)
        if cookie is not None:
            return Reply(_TEXT, b"", 303, b"Location: /\r\nSet-Cookie: %b\r\n" % cookie)
        if self._access.is_allowed(head):
            return self._page(head, b"")
        if b"text/html" not in _accept(head):
            raise _token_required()
        return Reply(_HTML, _SIGN_IN, 401, _policy_line(_SIGN_IN) + b"WWW-Authenticate: Bearer\r\n")

    def _status(self) -> bytes:
        return to_json(self._sources.status())


_READING: Final = (b"GET", b"HEAD")
_OPEN: Final = (b"/healthz", b"/readyz")
"""Paths that need no token, because an orchestrator's probes have none."""


def _by(respond: Respond) -> Handle:
    return partial(Response, respond=respond)


def _accept(head: RequestHead) -> bytes:
    """The value of Accept."""
    return b", ".join(value for name, value in head.headers if name.lower() == b"accept")


def _policy_line(page: bytes) -> bytes:
    return b"Content-Security-Policy: %b\r\nCross-Origin-Opener-Policy: same-origin\r\n" % content_security_policy(page)


def _token_required() -> Refusal:
    return Refusal(
        401,
        "token_required",
        "the admin port requires its token: send it as Authorization: Bearer, or open /?token=TOKEN in a browser",
        headers=((b"WWW-Authenticate", b"Bearer"),),
    )
