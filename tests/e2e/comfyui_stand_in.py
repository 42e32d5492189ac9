"""
A stand-in for ComfyUI's server: its rule on Origin and Host, and a page that needs what the real one needs.

    python tests/e2e/comfyui_stand_in.py [port]

prints `http://127.0.0.1:PORT` once it listens. The page at `/` loads a module script, which posts to `/prompt` by
`fetch`, opens a WebSocket at `/ws` and writes into `document.title` and `#result` what came of each:
`script ok, fetch ok, socket ok`, or what failed. `/log` tells, as JSON, each request's method, path, status, Host and
Origin. Standard library only.

The rule, as of ComfyUI's `server.py` (`create_origin_only_middleware`): 403 where Sec-Fetch-Site is `cross-site`; and,
where Host is a loopback name and both Host and Origin are there, where they differ. A port that one of them lacks is
not compared.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import json
import socket
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

PAGE = b"""<!doctype html><meta charset="utf-8"><title>loading</title><p id="result">loading</p>
<script type="module" src="./app.js"></script>
"""
SCRIPT = b"""
const done = ["script ok"];
const tell = () => {
  document.title = done.join(", ");
  document.getElementById("result").textContent = document.title;
};
tell();
try {
  const answer = await fetch("./prompt", {
    method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify({prompt: {"1": {}}}),
  });
  done.push(answer.ok && (await answer.json()).prompt_id === "p-1" ? "fetch ok" : "fetch " + answer.status);
} catch (error) { done.push("fetch " + error); }
tell();
const socket = new WebSocket("./ws?clientId=c".replace(/^\\./, location.origin.replace(/^http/, "ws")));
let heard = false;
socket.onmessage = (event) => {
  heard = true;
  done.push(event.data === "status" ? "socket ok" : "socket " + event.data);
  tell();
};
socket.onerror = () => { if (!heard) { done.push("socket failed"); tell(); } };
"""
_WEBSOCKET = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_REQUESTS_MAX = 1000


def is_loopback(host: str | None) -> bool:
    """Whether a name or an address leads to this machine alone, as far as it leads anywhere."""
    if not host:
        return False
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        pass
    try:
        found = {info[4][0] for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except OSError:
        return False
    return all(ipaddress.ip_address(address).is_loopback for address in found)


def is_foreign(host: str | None, origin: str | None, site: str | None) -> bool:
    """Whether ComfyUI answers 403 to a request with these Host, Origin and Sec-Fetch-Site fields."""
    if site == "cross-site":
        return True
    if host is None or origin is None:
        return False
    page, here = urlsplit(origin), urlsplit("//" + host.lower())
    asked: str | None = host.lower() if page.port is not None else here.hostname
    named: str | None = page.netloc.lower() if here.port is not None else page.hostname
    return bool(is_loopback(here.hostname) and asked and named and asked != named)


class Handler(BaseHTTPRequestHandler):
    """Serves the page; one request is one line of the log."""

    protocol_version = "HTTP/1.1"
    requests: list[dict[str, object]] = []

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path == "/log":
            self.answer(200, json.dumps(self.requests).encode(), "application/json")
        elif self.refuses():
            self.answer(403, b"")
        elif path == "/":
            self.answer(200, PAGE, "text/html")
        elif path == "/app.js":
            self.answer(200, SCRIPT, "text/javascript")
        elif path == "/ws" and self.headers.get("Upgrade", "").lower() == "websocket":
            self.socket()
        else:
            self.answer(200 if path == "/system_stats" else 404, b"{}", "application/json")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.refuses():
            self.answer(403, b"")
        elif urlsplit(self.path).path == "/prompt":
            self.answer(200, b'{"prompt_id": "p-1", "number": 1, "node_errors": {}}', "application/json")
        else:
            self.answer(404, b"")

    def refuses(self) -> bool:
        fields = self.headers
        return is_foreign(fields.get("Host"), fields.get("Origin"), fields.get("Sec-Fetch-Site"))

    def answer(self, status: int, body: bytes, kind: str = "text/plain") -> None:
        self.note(status)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def note(self, status: int) -> None:
        if urlsplit(self.path).path != "/log" and len(self.requests) < _REQUESTS_MAX:
            names = ("Host", "Origin", "X-Forwarded-Host", "X-Forwarded-Proto")
            said = {name.lower(): self.headers.get(name) for name in names}
            self.requests.append({"method": self.command, "path": self.path, "status": status, **said})

    def socket(self) -> None:
        """Answer the handshake, say `status` in one text frame, and listen until the page goes."""
        self.note(101)
        key = self.headers.get("Sec-WebSocket-Key", "").encode()
        accept = base64.b64encode(hashlib.sha1(key + _WEBSOCKET).digest()).decode()
        self.send_response(101)
        for name, value in (("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", accept)):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(b"\x81\x06status")
        self.close_connection = True
        while self.rfile.read1(4096):
            pass

    def log_message(self, format: str, *args: object) -> None:
        """Said by /log."""


def serve(port: int = 0) -> ThreadingHTTPServer:
    """A server that listens on loopback; `serve_forever` runs it."""
    Handler.requests = []
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    return server


if __name__ == "__main__":
    running = serve(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
    print(f"http://127.0.0.1:{running.server_address[1]}", flush=True)
    try:
        running.serve_forever()
    except KeyboardInterrupt:
        pass
