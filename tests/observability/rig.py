"""The admin port in memory: its routes behind a server, with a fake clock and connections as `Wire`s."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock

from tests.rig import Wire
from vespa.http.server import Server
from vespa.observability.admin import LIMITS
from vespa.observability.admin_access import AdminAccess
from vespa.observability.routes import Routes, Sources

PAGE = b"<!doctype html><style>p{color:red}</style><p>Vespa</p><script>go()</script>"
LOOPBACK = "tcp:9464:interface=127.0.0.1"
EVERYWHERE = "tcp:9464"
TOKEN = "adm1n+t0ken"


class AdminRig:
    """The admin port of a process that is ready, and whose status counts how often it was made."""

    def __init__(self, endpoint: str = LOOPBACK, token: str = "", clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.clock.advance(1_700_000_000.0)
        self.ready: tuple[bool, str] = (True, "")
        self.made = 0
        self.accepts: list[str] = []
        self.level = "info"
        self.fails = False
        self.padding = ""
        access = AdminAccess(endpoint, token, self.clock.seconds)
        sources = Sources(
            metrics=self._metrics,
            status=lambda: {**self._status(), "whole": True},
            event=self._status,
            ready=lambda: self.ready,
            page=PAGE,
            set_level=self._set_level,
        )
        self.routes = Routes(sources, access, self.clock)
        self.server = Server(self.routes, self.clock, LIMITS)

    def _metrics(self, accept: str) -> tuple[str, bytes]:
        self.accepts.append(accept)
        return "text/plain; version=1.0.0", b"vespa_ready 1\n"

    def _status(self) -> dict[str, Any]:
        if self.fails:
            raise RuntimeError("no status")
        self.made += 1
        return {"made": self.made, "ratio": float("inf"), "padding": self.padding}

    def _set_level(self, name: str) -> None:
        if name not in ("debug", "info"):
            raise ValueError(f"{name!r} is not a level: debug or info")
        self.level = name

    def client(self) -> Wire:
        """A new connection to the port."""
        address = IPv4Address("TCP", "127.0.0.1", 40000)
        wire = Wire(address)
        wire.attach(self.server.buildProtocol(address))
        return wire

    def ask(
        self,
        path: str = "/",
        *lines: str,
        method: str = "GET",
        host: str = "localhost:9464",
        content: bytes = b"",
    ) -> bytes:
        """The response to one request on a connection of its own."""
        wire = self.client()
        wire.send(request(path, *lines, method=method, host=host, content=content))
        return wire.read()


def request(path: str, *lines: str, method: str = "GET", host: str = "localhost:9464", content: bytes = b"") -> bytes:
    """A request's bytes."""
    more = [f"Content-Length: {len(content)}"] if content or method == "POST" else []
    return (
        "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {host}", *lines, *more, "", ""]).encode("latin-1") + content
    )


def ask_listener(listener: Any, target: str, token: str = "") -> bytes:
    """The response of an admin listener to GET, in memory; it need not listen."""
    wire = Wire(IPv4Address("TCP", "127.0.0.1", 40000))
    wire.attach(listener.server.buildProtocol(IPv4Address("TCP", "127.0.0.1", 40000)))
    shown = f"Authorization: Bearer {token}\r\n" if token else ""
    wire.send(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:9464\r\n{shown}\r\n".encode())
    return wire.read()
