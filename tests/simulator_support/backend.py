"""The small backend with what tests need to ask of one: more APIs, uploads, downloads, failures, and its counts."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Awaitable, Iterator
from typing import Any, TypeVar

import msgspec
from attrs import asdict, define
from klein import Klein
from klein.resource import KleinResource
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.web.server import Request
from werkzeug.datastructures import FileStorage
from werkzeug.formparser import FormDataParser
from werkzeug.http import parse_options_header

from tests.simulator_support.anthropic import AnthropicMessage
from tests.simulator_support.faults import drop
from tests.simulator_support.generation import Generation
from vespa.simulator import responses
from vespa.simulator.backend import Limit, Messages, SimulatedBackend, prompt_of

T = TypeVar("T")

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


class MessageQuestion(msgspec.Struct):
    """What Anthropic's API of messages is asked. Fields without a name here are ignored."""

    messages: Messages
    max_tokens: Limit
    stream: bool = False


class ControlledBackend(SimulatedBackend):
    """The backend's resource. `stats` count the requests that take a while, not those of /health and the like."""

    routes = Klein()

    def __init__(self, clock: IReactorTime, **options: Any) -> None:
        super().__init__(clock, **options)
        self.stats = Stats()
        self.sessions_ended: list[Any] = []
        """What came to /session-ended."""

    def resource(self) -> KleinResource:
        return self.routes.resource()

    @routes.route("/", branch=True)
    def _others(self, request: Request) -> KleinResource:
        return super().resource()

    @routes.route("/stats", methods=["GET"])
    def _stats(self, request: Request) -> bytes:
        return responses.send_json(request, asdict(self.stats))

    @routes.route("/session-ended", methods=["POST"])
    def _session_ended(self, request: Request) -> bytes:
        self.sessions_ended.append(msgspec.json.decode(responses.read_body(request)))
        return responses.send_json(request, {})

    @routes.route("/v1/messages", methods=["POST"])
    async def _messages(self, request: Request) -> bytes:
        try:
            asked = msgspec.json.decode(responses.read_body(request), type=MessageQuestion)
        except msgspec.MsgspecError as error:
            told = {"type": "invalid_request_error", "message": str(error)}
            raise responses.ErrorResponse(400, {"type": "error", "error": told}) from None
        message = AnthropicMessage(
            number=self.stats.requests + 1,
            input_tokens=len(prompt_of(asked.messages).split()),
            max_tokens=asked.max_tokens,
        )
        if asked.stream:
            return await self.stream(request, message.events())
        return await self.send_response(request, message.whole(), len(message.words))

    @routes.route("/v1/audio/transcriptions", methods=["POST"])
    async def _transcriptions(self, request: Request) -> bytes:
        content: Any = request.content
        media_type, options = parse_options_header(responses.header(request, b"Content-Type"))
        if media_type != "multipart/form-data":
            raise responses.bad_request("not multipart/form-data")
        try:
            _, fields, files = FormDataParser(silent=False).parse(content, media_type, None, options)
        except ValueError as error:
            raise responses.bad_request(str(error)) from None
        told = [_file(name, file) for name, file in files.items(multi=True)]
        if not told:
            raise responses.bad_request("there is no file")
        value = {"text": f"{told[0]['size']} bytes of sound", "fields": [*fields.items(multi=True)], "files": told}
        return await self.send_response(request, value)

    @routes.route("/echo", branch=True)
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

    @routes.route("/upload", methods=["POST", "PUT", "PATCH"])
    def _upload(self, request: Request) -> bytes:
        content: Any = request.content
        length = crc = 0
        while piece := content.read(len(PIECE)):
            length, crc = length + len(piece), zlib.crc32(piece, crc)
        return responses.send_json(request, {"length": length, "crc32": crc})

    @routes.route("/sleep")
    async def _sleep(self, request: Request) -> bytes:
        seconds = number(request, "seconds", 1.0)
        await self.watched(deferLater(self.clock, seconds))
        return responses.send_json(request, {"slept": seconds})

    @routes.route("/big", methods=["GET"])
    async def _big(self, request: Request) -> bytes:
        size = int(number(request, "size", 1 << 20))
        responses.send_bytes(request, b"", b"application/octet-stream")
        request.setHeader(b"Content-Length", b"%d" % size)
        await self.watched(Generation(self.clock, request, _pieces(size)).run())
        return b""

    @routes.route("/die", methods=["GET", "POST"])
    async def _die(self, request: Request) -> bytes:
        """Promise `size` bytes, send `after` of them, and drop the connection."""
        size, after = int(number(request, "size", 1 << 20)), int(number(request, "after", 1000))
        request.setHeader(b"Content-Length", b"%d" % size)
        await self.watched(Generation(self.clock, request, _pieces(min(after, size))).run())
        await deferLater(self.clock, 0.05)  # so that what was sent leaves before the reset does
        drop(request)
        await deferLater(self.clock, 60)  # Klein cancels this when the connection is gone
        return b""

    @routes.route("/status/<int:status>")
    def _status(self, request: Request, status: int) -> bytes:
        return responses.send_json(
            request, {"error": {"message": f"status {status}, as you asked", "code": status}}, status
        )

    async def send_response(self, request: Request, value: object, words: int = 0) -> bytes:
        return await self.watched(super().send_response(request, value, words))

    async def stream(self, request: Request, events: Iterator[bytes]) -> bytes:
        return await self.watched(super().stream(request, self._counted(events)))

    def _counted(self, events: Iterator[bytes]) -> Iterator[bytes]:
        for event in events:
            self.stats.pieces += 1
            yield event

    async def watched(self, work: Awaitable[T]) -> T:
        """Do the work of one request, and count how it ended."""
        self.stats.requests += 1
        self.stats.in_progress += 1
        try:
            result = await work
        except CancelledError:
            self.stats.hang_ups += 1
            raise
        else:
            self.stats.finished += 1
            return result
        finally:
            self.stats.in_progress -= 1


def number(request: Request, name: str, default: float) -> float:
    """A query parameter that is a number. Raises ErrorResponse 400."""
    try:
        args: dict[bytes, list[bytes]] = request.args
        return float(args.get(name.encode("ascii"), [str(default)])[0])
    except ValueError:
        raise responses.bad_request(f"{name} must be a number") from None


def _pieces(size: int) -> Iterator[bytes]:
    while size > 0:
        yield PIECE[:size]
        size -= len(PIECE)


def _file(name: str, file: FileStorage) -> dict[str, Any]:
    content = file.stream.read()
    return {
        "name": name,
        "filename": file.filename,
        "content_type": file.content_type,
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
