"""
A stand-in of ComfyUI's server, for tests and for trying it out: `python -m vespa.simulator.comfyui_process`.

It follows the routes of ComfyUI's server.py (November 2026): /prompt, /queue, /interrupt, /history, /view,
/system_stats and /ws, each with and without the prefix /api. It makes no pictures.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable
from itertools import count
from typing import Any, Final
from urllib.parse import parse_qs
from uuid import UUID

from klein import Klein
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.web.server import Request

from vespa.http.server_connection import ServerConnection
from vespa.protocol.request_head import RequestHead
from vespa.simulator import responses
from vespa.simulator.comfyui_queue import ComfyUIQueue, Queued
from vespa.simulator.comfyui_workflow import validate
from vespa.simulator.serving import Upgrades
from vespa.simulator.websocket import WebSocket

VERSION: Final = "0.3.75"
PICTURE: Final = b64decode(
    b"iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
"""What /view returns: one pixel, PNG."""


class SimulatedComfyUI(responses.KleinRoutes):
    """
    The server's resource. `upgrades` belong beside it.

    `version`: below 0.3.64, /interrupt ends whatever runs. `prompt_seconds` is the time until POST /prompt is answered,
    while the job is in the queue already; both may be changed at any time.
    """

    app = Klein()

    def __init__(self, clock: IReactorTime, *, step_seconds: float = 0.05, version: str = VERSION) -> None:
        self.clock = clock
        self.version = version
        self.prompt_seconds = 0.0
        self.sockets: dict[str, _Socket] = {}
        self.queue = ComfyUIQueue(clock, self._send, step_seconds)
        self.number = 0
        self._ids = count(1)
        make: Callable[[ServerConnection, RequestHead], _Socket] = lambda client, head: _Socket(self, client, head)  # noqa: E731
        self.upgrades: Upgrades = {b"/ws": make, b"/api/ws": make}

    def new_id(self) -> str:
        """An id in the form of ComfyUI's, which are random."""
        return str(UUID(int=next(self._ids)))

    def _send(self, event: str, data: dict[str, Any], client_id: str | None) -> None:
        text = json.dumps({"type": event, "data": data})
        for name, socket in list(self.sockets.items()):
            if client_id in (None, name):
                socket.send(text)

    @app.route("/prompt", methods=["POST"])
    @app.route("/api/prompt", methods=["POST"])
    async def _prompt(self, request: Request) -> bytes:
        value = _read(request)
        if "prompt" not in value:
            error = {"type": "no_prompt", "message": "No prompt provided", "details": "", "extra_info": {}}
            return responses.send_json(request, {"error": error, "node_errors": {}}, 400)
        error_found, node_errors, outputs = validate(value["prompt"])
        if error_found is not None:
            return responses.send_json(request, {"error": error_found, "node_errors": node_errors}, 400)
        number = (
            float(value["number"]) if "number" in value else float(-self.number if value.get("front") else self.number)
        )
        self.number += "number" not in value
        extra = dict(value.get("extra_data") or {})
        if "client_id" in value:
            extra["client_id"] = value["client_id"]
        prompt_id = str(value.get("prompt_id") or self.new_id())
        self.queue.put(Queued(number, prompt_id, value["prompt"], extra, outputs))
        if self.prompt_seconds:
            # ComfyUI's server goes on with a request whose caller has left, and so does this.
            await deferLater(self.clock, self.prompt_seconds)
        return responses.send_json(request, {"prompt_id": prompt_id, "number": number, "node_errors": {}})

    @app.route("/prompt", methods=["GET"])
    @app.route("/api/prompt", methods=["GET"])
    def _info(self, request: Request) -> bytes:
        return responses.send_json(request, self.queue.info())

    @app.route("/queue", methods=["GET"])
    @app.route("/api/queue", methods=["GET"])
    def _queue(self, request: Request) -> bytes:
        running = [self.queue.running.shown()] if self.queue.running is not None else []
        waiting = [job.shown() for job in self.queue.waiting]
        return responses.send_json(request, {"queue_running": running, "queue_pending": waiting})

    @app.route("/queue", methods=["POST"])
    @app.route("/api/queue", methods=["POST"])
    def _change_queue(self, request: Request) -> bytes:
        value = _read(request)
        if value.get("clear"):
            self.queue.clear()
        for each in value.get("delete", ()):
            self.queue.delete(each)
        return b""

    @app.route("/interrupt", methods=["POST"])
    @app.route("/api/interrupt", methods=["POST"])
    def _interrupt(self, request: Request) -> bytes:
        targeted = tuple(map(int, self.version.split("."))) >= (0, 3, 64)
        self.queue.interrupt(_read(request).get("prompt_id") if targeted else None)
        return b""

    @app.route("/history", methods=["GET"])
    @app.route("/api/history", methods=["GET"])
    def _history(self, request: Request) -> bytes:
        return responses.send_json(request, self.queue.history)

    @app.route("/history", methods=["POST"])
    @app.route("/api/history", methods=["POST"])
    def _change_history(self, request: Request) -> bytes:
        value = _read(request)
        if value.get("clear"):
            self.queue.history.clear()
        for each in value.get("delete", ()):
            self.queue.history.pop(each, None)
        return b""

    @app.route("/history/<prompt_id>", methods=["GET"])
    @app.route("/api/history/<prompt_id>", methods=["GET"])
    def _history_of(self, request: Request, prompt_id: str) -> bytes:
        entry = self.queue.history.get(prompt_id)
        return responses.send_json(request, {} if entry is None else {prompt_id: entry})

    @app.route("/view", methods=["GET"])
    @app.route("/api/view", methods=["GET"])
    def _view(self, request: Request) -> bytes:
        args: Any = request.args
        name = args.get(b"filename", [b""])[0].decode("utf-8", "replace")
        if name.removesuffix(".png") not in self.queue.history:
            request.setResponseCode(404)
            return b""
        return responses.send_bytes(request, PICTURE, b"image/png")

    @app.route("/system_stats", methods=["GET"])
    @app.route("/api/system_stats", methods=["GET"])
    def _stats(self, request: Request) -> bytes:
        return responses.send_json(request, {"system": {"comfyui_version": self.version}, "devices": []})


def _read(request: Request) -> dict[str, Any]:
    try:
        value = json.loads(responses.read_body(request) or b"{}")
    except ValueError:
        raise responses.ErrorResponse(400, {"error": "the body is not JSON"}) from None
    return value if isinstance(value, dict) else {}


class _Socket(WebSocket):
    """A client of /ws. Those with the same clientId replace each other, as at ComfyUI."""

    def __init__(self, server: SimulatedComfyUI, client: ServerConnection, head: RequestHead) -> None:
        super().__init__(client, head)
        self._server = server
        query = parse_qs(head.target.partition(b"?")[2].decode("latin-1"))
        self._sid = query.get("clientId", [""])[0] or server.new_id()

    def opened(self) -> None:
        self._server.sockets[self._sid] = self
        status = {"status": self._server.queue.info(), "sid": self._sid}
        self.send(json.dumps({"type": "status", "data": status}))

    def closed(self) -> None:
        if self._server.sockets.get(self._sid) is self:
            del self._server.sockets[self._sid]
