"""A stand-in for a web application that a browser opens: ComfyUI's rule about origins, its page, its routes.

The page loads a module script, which posts with `fetch`, opens a WebSocket, logs in by a cookie, and tells the address
in the page's fragment what came of each. The rule is that of ComfyUI's server (server.py, origin_only_middleware,
November 2026): nothing for other sites' pages, and on loopback the Origin's authority has to be the Host's.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from urllib.parse import urlsplit

from twisted.web.http import Request
from twisted.web.resource import Resource

from vespa.http.interfaces import RequestHandler
from vespa.http.server_connection import ServerConnection
from vespa.protocol.refusal import Refusal
from vespa.protocol.request_head import RequestHead
from vespa.simulator.serving import Upgrades
from vespa.simulator.websocket import EchoSocket

HEALTH = "/system_stats"
"""ComfyUI has no /health."""

PAGE = b"""<!doctype html>
<html><head><title>stand-in</title><link rel="icon" href="data:,"></head>
<body><script type="module" src="/main.js"></script></body></html>
"""

SCRIPT = b"""
const result = {module: true};
async function attempt(name, work) {
  try { result[name] = await work(); } catch (error) { result[name] = String(error); }
}
await attempt("prompt", async () => {
  const response = await fetch("/prompt", {method: "POST", headers: {"Content-Type": "application/json"},
                                           body: JSON.stringify({prompt: {"1": {inputs: {}}}})});
  return [response.status, await response.json()];
});
await attempt("socket", () => new Promise((done, failed) => {
  const socket = new WebSocket((location.protocol === "https:" ? "wss://" : "ws://") + location.host + "/ws");
  socket.onopen = () => socket.send("hello");
  socket.onmessage = event => { socket.close(); done(event.data); };
  socket.onerror = () => failed("the WebSocket failed");
}));
await attempt("before", async () => (await fetch("/private")).status);
await attempt("login", async () => {
  const form = new URLSearchParams({password: "open"});
  return (await fetch("/login", {method: "POST", body: form})).status;
});
await attempt("after", async () => (await fetch("/private")).status);
await fetch(location.hash.slice(1), {method: "POST", mode: "no-cors", body: JSON.stringify(result)});
"""


def is_foreign(host: str | None, origin: str | None, site: str | None) -> bool:
    """Whether ComfyUI answers 403 to a request with these Host, Origin and Sec-Fetch-Site fields.

    A port that only one of Host and Origin has is not compared.
    """
    if site == "cross-site":
        return True
    if host is None or origin is None:
        return False
    page, here = urlsplit(origin), urlsplit("//" + host.lower())
    asked: str | None = host.lower() if page.port is not None else here.hostname
    named: str | None = page.netloc.lower() if here.port is not None else page.hostname
    loopback = here.hostname in ("127.0.0.1", "localhost", "::1")
    return bool(loopback and asked and named and asked != named)


class ComfyUI:
    """What is served, and what was heard."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str, int]] = []
        """Method, path and our status, of each request in order; 101 for a WebSocket. Health checks are left out."""
        self.hosts: set[str | None] = set()
        """The values of X-Forwarded-Host, from which Gradio makes its own address."""
        self.upgrades: Upgrades = {b"/ws": self._socket}

    def resource(self) -> Resource:
        """All but the WebSocket."""
        return _Everything(self)

    def _socket(self, client: ServerConnection, head: RequestHead) -> RequestHandler:
        if self.look("GET", "/ws", ((name.decode(), value.decode()) for name, value in head.headers), 101):
            raise Refusal(403, "foreign_origin", "the origin is not the host")
        return EchoSocket(client, head)

    def look(self, method: str, path: str, fields: Iterable[tuple[str, str]], status: int) -> bool:
        """Note a request; whether it is refused."""
        values = {name.lower(): value for name, value in fields}
        refused = is_foreign(values.get("host"), values.get("origin"), values.get("sec-fetch-site"))
        if path != HEALTH:
            self.heard.append((method, path, 403 if refused else status))
        self.hosts.add(values.get("x-forwarded-host"))
        return refused


class _Everything(Resource):
    isLeaf = True

    def __init__(self, app: ComfyUI) -> None:
        super().__init__()
        self._app = app

    def render(self, request: Request) -> bytes:
        method, path = request.method.decode(), request.path.decode()
        status, kind, body = self._answer(method, path, request)
        fields = [(name.decode(), values[0].decode()) for name, values in request.requestHeaders.getAllRawHeaders()]
        if self._app.look(method, path, fields, status):
            status, kind, body = 403, "text/plain", b""
        elif path == "/login" and status == 200:
            request.setHeader(b"set-cookie", b"session=known; Path=/; HttpOnly")
        request.setResponseCode(status)
        request.setHeader(b"content-type", kind.encode())
        return body if method != "HEAD" else b""

    def _answer(self, method: str, path: str, request: Request) -> tuple[int, str, bytes]:
        if method == "GET" and path == HEALTH:
            return 200, "application/json", b"{}"
        if method == "GET" and path == "/":
            return 200, "text/html", PAGE
        if method == "GET" and path == "/main.js":
            return 200, "text/javascript", SCRIPT
        if method == "POST" and path == "/prompt":
            return 200, "application/json", json.dumps({"prompt_id": "1", "number": 1}).encode()
        if method == "POST" and path == "/login":
            assert request.content is not None
            known = request.content.read() == b"password=open"
            return (200 if known else 403), "text/plain", b""
        if method == "GET" and path == "/private":
            return (200 if "session=known" in (request.getHeader("cookie") or "") else 401), "text/plain", b""
        return 404, "text/plain", b""
