"""A small OpenAI-like streaming backend, with what tests need to ask of one."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from typing import Any

from attrs import asdict, define
from klein import Klein
from klein.resource import KleinResource
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.server import Request

from vespa.sim.answers import Answer, parameter, read_body, send_bytes, send_json
from vespa.sim.generation import Generation
from vespa.sim.serving import drop
from vespa.sim.words import MODEL, Api, Completion

PIECE = bytes(range(256)) * 256
"""What /big is made of: 64 KiB that repeat."""


@define
class Stats:
    """What the backend has seen so far; `pieces` counts the events that streams were made of."""

    requests: int = 0
    in_progress: int = 0
    finished: int = 0
    hang_ups: int = 0
    pieces: int = 0


class Backend:
    """The backend's resource. `tokens_per_second` is the rate of each answer, and may be changed at any time.

    While `healthy` is false, /health answers 503.
    """

    app = Klein()

    def __init__(self, clock: IReactorTime, *, tokens_per_second: float = 50.0, healthy: bool = True) -> None:
        self.tokens_per_second = tokens_per_second
        self.healthy = healthy
        self.stats = Stats()
        self._clock = clock

    def resource(self) -> KleinResource:
        """What to serve."""
        return self.app.resource()

    @app.handle_errors(Answer)
    def _answer(self, request: IRequest, failure: Failure) -> bytes:
        answer: Any = failure.value
        return send_json(request, answer.value, answer.status)

    @app.route("/health", methods=["GET"])
    def _health(self, request: Request) -> bytes:
        return send_json(request, {"status": "ok" if self.healthy else "loading"}, 200 if self.healthy else 503)

    @app.route("/stats", methods=["GET"])
    def _stats(self, request: Request) -> bytes:
        return send_json(request, asdict(self.stats))

    @app.route("/v1/models", methods=["GET"])
    def _models(self, request: Request) -> bytes:
        model = {"id": MODEL, "object": "model", "created": 0, "owned_by": "vespa"}
        return send_json(request, {"object": "list", "data": [model]})

    @app.route("/v1/chat/completions", methods=["POST"])
    async def _chat(self, request: Request) -> bytes:
        asked = _read_object(request)
        messages = asked.get("messages")
        if type(messages) is not list or not all(type(each) is dict for each in messages):
            raise _bad_request("messages must be a list of objects")
        prompt = " ".join(str(each.get("content", "")) for each in messages)
        return await self._complete(request, "chat", asked, prompt)

    @app.route("/v1/completions", methods=["POST"])
    async def _completions(self, request: Request) -> bytes:
        asked = _read_object(request)
        return await self._complete(request, "text", asked, str(asked.get("prompt", "")))

    async def _complete(self, request: Request, api: Api, asked: dict[str, Any], prompt: str) -> bytes:
        limit = asked.get("max_completion_tokens", asked.get("max_tokens"))
        if limit is not None and (type(limit) is not int or limit < 1):
            raise _bad_request("max_tokens must be a whole number of 1 or more")
        completion = Completion(
            api=api,
            number=self.stats.requests + 1,
            created=int(self._clock.seconds()),
            prompt_tokens=len(prompt.split()),
            max_tokens=limit or 1_000_000,
        )
        if not asked.get("stream"):
            await self._watched(deferLater(self._clock, len(completion.words) / self.tokens_per_second))
            return send_json(request, completion.whole())
        options = asked.get("stream_options")
        events = completion.events(type(options) is dict and options.get("include_usage") is True)
        send_bytes(request, b"", b"text/event-stream")
        request.setHeader(b"Cache-Control", b"no-cache")
        await self._watched(
            Generation(self._clock, request, events, 1 / self.tokens_per_second, self._count_piece).run()
        )
        return b""

    @app.route("/echo", branch=True)
    def _echo(self, request: Request) -> bytes:
        body = read_body(request)
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
        return send_json(request, said)

    @app.route("/upload", methods=["POST", "PUT", "PATCH"])
    def _upload(self, request: Request) -> bytes:
        content: Any = request.content
        length = crc = 0
        while piece := content.read(len(PIECE)):
            length, crc = length + len(piece), zlib.crc32(piece, crc)
        return send_json(request, {"length": length, "crc32": crc})

    @app.route("/sleep")
    async def _sleep(self, request: Request) -> bytes:
        seconds = _number(request, "seconds", 1.0)
        await self._watched(deferLater(self._clock, seconds))
        return send_json(request, {"slept": seconds})

    @app.route("/big", methods=["GET"])
    async def _big(self, request: Request) -> bytes:
        size = int(_number(request, "size", 1 << 20))
        send_bytes(request, b"", b"application/octet-stream")
        request.setHeader(b"Content-Length", b"%d" % size)
        await self._watched(Generation(self._clock, request, _pieces(size), 0).run())
        return b""

    @app.route("/die", methods=["GET", "POST"])
    async def _die(self, request: Request) -> bytes:
        """Promise `size` bytes, send `after` of them, and drop the connection."""
        size, after = int(_number(request, "size", 1 << 20)), int(_number(request, "after", 1000))
        request.setHeader(b"Content-Length", b"%d" % size)
        await self._watched(Generation(self._clock, request, _pieces(min(after, size)), 0).run())
        await deferLater(self._clock, 0.05)  # so that what was sent leaves before the reset does
        drop(request)
        await deferLater(self._clock, 60)  # Klein cancels this when the connection is gone
        return b""

    @app.route("/status/<int:status>")
    def _status(self, request: Request, status: int) -> bytes:
        return send_json(request, {"error": {"message": f"status {status}, as you asked", "code": status}}, status)

    @app.route("/", branch=True)
    def _nothing(self, request: Request) -> bytes:
        raise Answer(404, {"error": {"message": "there is nothing here", "type": "not_found", "code": 404}})

    def _count_piece(self) -> None:
        self.stats.pieces += 1

    async def _watched(self, work: Any) -> None:
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


def _bad_request(message: str) -> Answer:
    return Answer(400, {"error": {"message": message, "type": "invalid_request_error", "code": 400}})


def _read_object(request: Request) -> dict[str, Any]:
    try:
        value = json.loads(read_body(request))
    except ValueError:
        raise _bad_request("the body is not JSON") from None
    if type(value) is not dict:
        raise _bad_request("the body is not a JSON object")
    return value


def _number(request: Request, name: str, default: float) -> float:
    try:
        return float(parameter(request, name, str(default)))
    except ValueError:
        raise _bad_request(f"{name} must be a number") from None
