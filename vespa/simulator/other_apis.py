"""What the small backend answers besides completions: embeddings, Anthropic's messages, transcriptions of uploads."""

from __future__ import annotations

import base64
import hashlib
import struct
from typing import Any

from twisted.web.server import Request

from vespa.simulator import responses
from vespa.simulator.anthropic import AnthropicMessage
from vespa.simulator.completions import MODEL
from vespa.simulator.multipart import NoForm, Part, read_form

DIMENSIONS = 8


class OtherApis(responses.KleinRoutes):
    """The resource at /v1/ for what the backend itself has no word for."""

    app = responses.error_response_app()

    def __init__(self, backend: Any) -> None:
        """`backend` is the `SimulatedBackend` whose routes these are, which stands above this module."""
        self._backend = backend

    @app.route("/embeddings", methods=["POST"])
    async def _embeddings(self, request: Request) -> bytes:
        met = await self._backend.faults.meet(request)
        asked = responses.read_object(request)
        given = asked.get("input")
        texts = [given] if isinstance(given, str) else given
        if type(texts) is not list or not texts or not all(isinstance(each, str) for each in texts):
            raise responses.bad_request("input must be a text or a list of texts")
        in_base64 = asked.get("encoding_format") == "base64"
        tokens = sum(len(each.split()) for each in texts)
        value = {
            "object": "list",
            "model": MODEL,
            "data": [
                {"object": "embedding", "index": place, "embedding": _embedding(each, in_base64)}
                for place, each in enumerate(texts)
            ],
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
        sent: bytes = await self._backend.send_response(request, value, 0, met)
        return sent

    @app.route("/messages", methods=["POST"])
    async def _messages(self, request: Request) -> bytes:
        met = await self._backend.faults.meet(request)
        try:
            asked = responses.read_object(request)
            prompt, limit = responses.prompt_of(asked), responses.limit_of(asked, "max_tokens")
            if limit is None:
                raise responses.bad_request("max_tokens: Field required")
        except responses.ErrorResponse as error_response:
            told: Any = error_response.value
            error = {"type": "invalid_request_error", "message": told["error"]["message"]}
            raise responses.ErrorResponse(400, {"type": "error", "error": error}) from None
        message = AnthropicMessage(
            number=self._backend.stats.requests + 1, input_tokens=len(prompt.split()), max_tokens=limit
        )
        sent: bytes
        if asked.get("stream"):
            sent = await self._backend.stream(request, message.events(), met)
        else:
            sent = await self._backend.send_response(request, message.whole(), len(message.words), met)
        return sent

    @app.route("/audio/transcriptions", methods=["POST"])
    async def _transcriptions(self, request: Request) -> bytes:
        met = await self._backend.faults.meet(request)
        try:
            parts = read_form(responses.read_body(request), responses.header(request, b"Content-Type"))
        except NoForm as error:
            raise responses.bad_request(str(error)) from None
        files = [_file(part) for part in parts if part.filename is not None]
        fields = [[part.name, part.content.decode("utf-8", "replace")] for part in parts if part.filename is None]
        if not files:
            raise responses.bad_request("there is no file")
        value = {"text": f"{files[0]['size']} bytes of sound", "fields": fields, "files": files}
        sent: bytes = await self._backend.send_response(request, value, 0, met)
        return sent

    @app.route("/", branch=True)
    def _nothing(self, request: Request) -> bytes:
        raise responses.not_found()


def _embedding(text: str, in_base64: bool) -> list[float] | str:
    # Eight numbers that depend on the text alone, and that a float of 32 bits can hold.
    values = [byte / 256 - 0.5 for byte in hashlib.sha256(text.encode("utf-8")).digest()[:DIMENSIONS]]
    return base64.b64encode(struct.pack(f"<{DIMENSIONS}f", *values)).decode("ascii") if in_base64 else values


def _file(part: Part) -> dict[str, Any]:
    return {
        "name": part.name,
        "filename": part.filename,
        "content_type": part.content_type,
        "size": len(part.content),
        "sha256": hashlib.sha256(part.content).hexdigest(),
    }
