"""A small OpenAI-like streaming backend."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Annotated, Any

import msgspec
from klein import Klein
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.web.server import Request

from vespa.simulator import responses
from vespa.simulator.completions import MODEL, Api, ModelCompletion
from vespa.simulator.serving import Upgrades
from vespa.simulator.websocket import EchoSocket

Limit = Annotated[int, msgspec.Meta(ge=1)]
Messages = list[dict[str, Any]]


class Question(msgspec.Struct):
    """The common fields of requests for completions. Other fields are ignored."""

    max_completion_tokens: Limit | None = None
    max_tokens: Limit | None = None
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None


class ChatQuestion(Question, kw_only=True):
    """A request for a chat completion."""

    messages: Messages


class TextQuestion(Question):
    """A request for a text completion."""

    prompt: Any = ""


def prompt_of(messages: Messages) -> str:
    """The whole text of a conversation."""
    return " ".join(str(each.get("content", "")) for each in messages)


class SimulatedBackend(responses.KleinRoutes):
    """The backend's resource. `tokens_per_second` is the rate of each response, and may be changed at any time.

    `upgrades` belong beside the resource: /ws is a WebSocket that echoes its messages.
    """

    upgrades: Upgrades = {b"/ws": EchoSocket}

    app = Klein()

    def __init__(self, clock: IReactorTime, *, tokens_per_second: float = 50.0) -> None:
        self.tokens_per_second = tokens_per_second
        self.clock = clock
        self._numbers = count(1)

    @app.route("/health", methods=["GET"])
    def _health(self, request: Request) -> bytes:
        return responses.send_json(request, {"status": "ok"})

    @app.route("/v1/models", methods=["GET"])
    def _models(self, request: Request) -> bytes:
        model = {"id": MODEL, "object": "model", "created": 0, "owned_by": "vespa"}
        return responses.send_json(request, {"object": "list", "data": [model]})

    @app.route("/v1/chat/completions", methods=["POST"])
    async def _chat(self, request: Request) -> bytes:
        asked = responses.read_question(request, ChatQuestion)
        return await self._complete(request, "chat", asked, prompt_of(asked.messages))

    @app.route("/v1/completions", methods=["POST"])
    async def _completions(self, request: Request) -> bytes:
        asked = responses.read_question(request, TextQuestion)
        return await self._complete(request, "text", asked, str(asked.prompt))

    async def _complete(self, request: Request, api: Api, asked: Question, prompt: str) -> bytes:
        completion = ModelCompletion(
            api=api,
            number=next(self._numbers),
            created=int(self.clock.seconds()),
            prompt_tokens=len(prompt.split()),
            max_tokens=asked.max_completion_tokens or asked.max_tokens or 1_000_000,
        )
        if not asked.stream:
            return await self.send_response(request, completion.whole(), len(completion.words))
        return await self.stream(request, completion.events((asked.stream_options or {}).get("include_usage") is True))

    @app.route("/", branch=True)
    def _nothing(self, request: Request) -> bytes:
        error = {"message": "this path does not exist", "type": "not_found", "code": 404}
        return responses.send_json(request, {"error": error}, 404)

    async def send_response(self, request: Request, value: object, words: int = 0) -> bytes:
        """Answer with JSON, after the time for so many words."""
        await deferLater(self.clock, words / self.tokens_per_second)
        return responses.send_json(request, value)

    async def stream(self, request: Request, events: Iterator[bytes]) -> bytes:
        """Answer with server-sent events, at the rate of words."""
        responses.send_bytes(request, b"", b"text/event-stream")
        request.setHeader(b"Cache-Control", b"no-cache")
        for event in events:
            request.write(event)
            await deferLater(self.clock, 1 / self.tokens_per_second)  # which Klein cancels at a hang-up
        return b""
