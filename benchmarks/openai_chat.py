"""Tokens per second of an OpenAI-compatible backend: vLLM, SGLang, llama.cpp, Ollama, TGI.

    VESPA_BENCHMARK=benchmarks.openai_chat:benchmark

It counts generated tokens, because `cost` is usually a request's `max_tokens`. BENCHMARKS.md lists the
environment variables.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

from benchmarks.climb import LOADING, Climb, Request, Source
from benchmarks.measure import concurrency, setting
from benchmarks.streams import Events, Refused, Size, require_success

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession

_COUNTED = {"completion": "completion_tokens", "total": "total_tokens"}
_MOST_TOKENS = 500
# The forms of a request for a stream: first the one with the most information, last the one that every backend accepts.
_WAYS: tuple[dict[str, Any], ...] = (
    {"stream": True, "stream_options": {"include_usage": True}},
    {"stream": True},
    {},
)


def get_test_request() -> tuple[str, dict[str, Any], float]:
    """The path, payload and cost of one request like those of the benchmark."""
    size = Size(_MOST_TOKENS)
    return _route(), _payload(size, os.environ.get("MODEL_NAME", "")), float(size.tokens)


async def benchmark(backend_url: str, session: ClientSession) -> float:
    """The highest throughput in tokens per second, at the concurrency at which it stops growing."""
    wanted = os.environ.get("BENCHMARK_COUNT") or "completion"
    if wanted not in _COUNTED:
        raise ValueError(f"BENCHMARK_COUNT is {wanted!r}: it must be one of {', '.join(_COUNTED)}")
    model = os.environ.get("MODEL_NAME") or await first_model(session)
    chat = Chat(session, model, wanted)
    print(f"warming up {model or 'the model'} at {backend_url}")
    if wanted == "total":
        await chat.count_prompt()
    return await Climb(chat, concurrency(64), setting("BENCHMARK_RUNS", 3)).run()


async def first_model(session: ClientSession) -> str:
    """The first model in the backend's list; "" if it has no list."""
    async with session.get("/v1/models") as response:
        if response.status in (401, 403):
            await require_success("/v1/models", response)
        if response.status != 200:
            print(f"/v1/models answered {response.status}: sending requests without a model (MODEL_NAME sets one)")
            return ""
        answer = await response.json()
    models = answer.get("data") if isinstance(answer, dict) else None
    if not models:
        raise RuntimeError("/v1/models lists no model: set MODEL_NAME")
    return str(models[0]["id"])


class Chat(Source):
    """Requests for completions."""

    def __init__(self, session: ClientSession, model: str, wanted: str) -> None:
        """`wanted` is the count to use from `usage`: completion or total."""
        self._session = session
        self._model = model
        self._wanted = wanted
        self._size = Size(_MOST_TOKENS)
        self._way = 0
        self._worked = False

    def make(self) -> Request:
        return Request(self._size.tokens)

    async def send(self, request: Request) -> None:
        """Raises Refused. Shortens a request that is too long, and changes the form of a stream that is refused."""
        while True:
            way = self._way if self.streams else len(_WAYS) - 1
            sent = (self._size.words, self._size.tokens)
            try:
                await self._exchange(request, _WAYS[way])
                self._worked = True
                return
            except Refused as error:
                if request.tokens:
                    raise
                if error.too_long:
                    if sent == (self._size.words, self._size.tokens):  # otherwise another request has shrunk it already
                        self._size.shrink(error)
                    request.most = self._size.tokens
                elif error.status in (400, 422, 501) and not self._worked and way + 1 < len(_WAYS):
                    self._way = way + 1
                elif error.status in (400, 404, 422) and not self._model:
                    raise RuntimeError(f"set MODEL_NAME: {error}") from error
                else:
                    raise

    async def count_prompt(self) -> None:
        """Request one token, to learn the number of prompt tokens: a slow backend reports none in time otherwise."""
        most, self._size.tokens = self._size.tokens, 1
        request = self.make()
        self.streams = False
        try:
            await asyncio.wait_for(self.send(request), LOADING)
        finally:
            self.streams, self._size.tokens = True, most
        self.scale = (request.tokens - 1 + most) / most

    async def _exchange(self, request: Request, way: dict[str, Any]) -> None:
        route = _route()
        async with self._session.post(route, json={**_payload(self._size, self._model), **way}) as response:
            await require_success(route, response)
            if "event-stream" in response.headers.get("Content-Type", "") or way.get("stream"):
                await self._stream(request, route, response)
                return
            answer = await response.json()
        tokens = _told(answer, self._wanted)
        if not tokens:
            raise RuntimeError("the backend neither reports its tokens nor streams any")
        request.finish(tokens)

    async def _stream(self, request: Request, route: str, response: ClientResponse) -> None:
        events = Events(route, has_text)
        async for data in response.content.iter_any():
            if count := events.feed(data):
                request.arrived(count)
        tokens = next((tokens for event in events.last() if (tokens := _told(event, self._wanted))), 0.0)
        request.finish(tokens or request.tokens - events.without_text())


def _route() -> str:
    return os.environ.get("BENCHMARK_ROUTE") or "/v1/chat/completions"


def _payload(size: Size, model: str) -> dict[str, Any]:
    payload: dict[str, Any] = {"max_tokens": size.tokens, "temperature": 0.7}
    if _route().endswith("/chat/completions"):
        payload["messages"] = [{"role": "user", "content": size.prompt()}]
    else:
        payload["prompt"] = size.prompt()
    if model:
        payload["model"] = model
    return payload


def _told(answer: Any, wanted: str) -> float:
    """The tokens in a response's `usage`; 0 if there is none."""
    usage = answer.get("usage") if isinstance(answer, dict) else None
    return float((usage or {}).get(_COUNTED[wanted]) or 0)


def has_text(event: dict[str, Any]) -> bool:
    """Whether an event carries a token, including the reasoning of a model."""
    for choice in event.get("choices") or []:
        delta = choice.get("delta") or choice
        if any(delta.get(name) for name in ("content", "reasoning_content", "reasoning", "text")):
            return True
    return False
