"""A small OpenAI-like streaming backend, with what tests need to ask of one."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from itertools import islice
from typing import Any

from attrs import asdict, define
from klein.resource import KleinResource
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.web.server import Request

from vespa.simulator import responses
from vespa.simulator.completions import MODEL, Api, ModelCompletion
from vespa.simulator.failing_routes import FailingRoutes
from vespa.simulator.faults import Faults, Kind
from vespa.simulator.generation import Generation
from vespa.simulator.other_apis import OtherApis
from vespa.simulator.serving import Upgrades, drop
from vespa.simulator.websocket import EchoSocket

PIECE = bytes(range(256)) * 256
"""What /big is made of: 64 KiB that repeat."""

LAST_WORDS = 4
"""How many events a stream has that is cut."""


@define
class Stats:
    """What the backend has seen so far; `pieces` counts the events that streams were made of."""

    requests: int = 0
    in_progress: int = 0
    finished: int = 0
    hang_ups: int = 0
    pieces: int = 0


class SimulatedBackend(responses.KleinRoutes):
    """The backend's resource. `tokens_per_second` is the rate of each response, and may be changed at any time.

    While `healthy` is false, /health answers 503. `faults` apply to requests under /v1/: `die` ends a response in
    the middle. `upgrades` belong beside the resource: /ws is a WebSocket that says back what it is told.
    """

    upgrades: Upgrades = {b"/ws": EchoSocket}

    app = responses.error_response_app()

    def __init__(self, clock: IReactorTime, *, tokens_per_second: float = 50.0, healthy: bool = True) -> None:
        self.tokens_per_second = tokens_per_second
        self.healthy = healthy
        self.stats = Stats()
        self.faults = Faults()
        self.clock = clock
        self._other_apis = OtherApis(self)
        self._failing_routes = FailingRoutes(self)

    @app.route("/health", methods=["GET"])
    def _health(self, request: Request) -> bytes:
        return responses.send_json(
            request, {"status": "ok" if self.healthy else "loading"}, 200 if self.healthy else 503
        )

    @app.route("/stats", methods=["GET"])
    def _stats(self, request: Request) -> bytes:
        return responses.send_json(request, asdict(self.stats))

    @app.route("/v1/models", methods=["GET"])
    def _models(self, request: Request) -> bytes:
        model = {"id": MODEL, "object": "model", "created": 0, "owned_by": "vespa"}
        return responses.send_json(request, {"object": "list", "data": [model]})

    @app.route("/v1/chat/completions", methods=["POST"])
    async def _chat(self, request: Request) -> bytes:
        met = await self.faults.meet(request)
        asked = responses.read_object(request)
        return await self._complete(request, "chat", asked, responses.prompt_of(asked), met)

    @app.route("/v1/completions", methods=["POST"])
    async def _completions(self, request: Request) -> bytes:
        met = await self.faults.meet(request)
        asked = responses.read_object(request)
        return await self._complete(request, "text", asked, str(asked.get("prompt", "")), met)

    async def _complete(
        self, request: Request, api: Api, asked: dict[str, Any], prompt: str, met: Kind | None
    ) -> bytes:
        completion = ModelCompletion(
            api=api,
            number=self.stats.requests + 1,
            created=int(self.clock.seconds()),
            prompt_tokens=len(prompt.split()),
            max_tokens=responses.limit_of(asked, "max_completion_tokens", "max_tokens") or 1_000_000,
        )
        if not asked.get("stream"):
            return await self.send_response(request, completion.whole(), len(completion.words), met)
        options = asked.get("stream_options")
        events = completion.events(type(options) is dict and options.get("include_usage") is True)
        return await self.stream(request, events, met)

    @app.route("/v1/", branch=True)
    def _others(self, request: Request) -> KleinResource:
        return self._other_apis.resource()

    @app.route("/trouble/", branch=True)
    def _troubles(self, request: Request) -> KleinResource:
        return self._failing_routes.resource()

    @app.route("/echo", branch=True)
    def _echo(self, request: Request) -> bytes:
        body = responses.read_body(request)
        headers = [
            [name.decode("latin-1"), value.decode("latin-1")]
            for name, values in request.requestHeaders.getAllRawHeaders()
            for value in values
        ]
        said = {
            "method": request.method.decode("latin-1"),
            "target": request.uri.decode("latin-1"),
            "headers": headers,
            "length": len(body),
            "crc32": zlib.crc32(body),
            "body": body[:65536].decode("latin-1"),
        }
        return responses.send_json(request, said)

    @app.route("/upload", methods=["POST", "PUT", "PATCH"])
    def _upload(self, request: Request) -> bytes:
        content: Any = request.content
        length = crc = 0
        while piece := content.read(len(PIECE)):
            length, crc = length + len(piece), zlib.crc32(piece, crc)
        return responses.send_json(request, {"length": length, "crc32": crc})

    @app.route("/sleep")
    async def _sleep(self, request: Request) -> bytes:
        seconds = responses.number(request, "seconds", 1.0)
        await self.watched(deferLater(self.clock, seconds))
        return responses.send_json(request, {"slept": seconds})

    @app.route("/big", methods=["GET"])
    async def _big(self, request: Request) -> bytes:
        size = int(responses.number(request, "size", 1 << 20))
        responses.send_bytes(request, b"", b"application/octet-stream")
        request.setHeader(b"Content-Length", b"%d" % size)
        await self.watched(Generation(self.clock, request, _pieces(size), 0).run())
        return b""

    @app.route("/die", methods=["GET", "POST"])
    async def _die(self, request: Request) -> bytes:
        """Promise `size` bytes, send `after` of them, and drop the connection."""
        size, after = int(responses.number(request, "size", 1 << 20)), int(responses.number(request, "after", 1000))
        request.setHeader(b"Content-Length", b"%d" % size)
        await self.watched(Generation(self.clock, request, _pieces(min(after, size)), 0).run())
        await self._crash(request)
        return b""

    @app.route("/status/<int:status>")
    def _status(self, request: Request, status: int) -> bytes:
        return responses.send_json(
            request, {"error": {"message": f"status {status}, as you asked", "code": status}}, status
        )

    @app.route("/", branch=True)
    def _nothing(self, request: Request) -> bytes:
        raise responses.not_found()

    async def send_response(self, request: Request, value: object, words: int = 0, met: Kind | None = None) -> bytes:
        """Answer with JSON, after the time that so many words take; or with half of it, where the fault is `die`."""
        await self.watched(deferLater(self.clock, words / self.tokens_per_second))
        body = responses.send_json(request, value)
        if met != "die":
            return body
        request.setHeader(b"Content-Length", b"%d" % len(body))
        request.write(body[: len(body) // 2])
        await self._crash(request)
        return b""

    async def stream(self, request: Request, events: Iterator[bytes], met: Kind | None = None) -> bytes:
        """Answer with server-sent events, at the rate of words; or with the first few, where the fault is `die`."""
        responses.send_bytes(request, b"", b"text/event-stream")
        request.setHeader(b"Cache-Control", b"no-cache")
        if met == "die":
            events = islice(events, LAST_WORDS)
        await self.watched(Generation(self.clock, request, events, 1 / self.tokens_per_second, self._count_piece).run())
        if met == "die":
            await self._crash(request)
        return b""

    async def _crash(self, request: Request) -> None:
        await deferLater(self.clock, 0.05)  # so that what was sent leaves before the reset does
        drop(request)
        await deferLater(self.clock, 60)  # Klein cancels this when the connection is gone

    def _count_piece(self) -> None:
        self.stats.pieces += 1

    async def watched(self, work: Any) -> None:
        """Do the work of one request, and count how it ended."""
        self.stats.requests += 1
        self.stats.in_progress += 1
        try:
            await work
        except CancelledError:
            self.stats.hang_ups += 1
            raise
        else:
            self.stats.finished += 1
        finally:
            self.stats.in_progress -= 1


def _pieces(size: int) -> Iterator[bytes]:
    while size > 0:
        yield PIECE[:size]
        size -= len(PIECE)
