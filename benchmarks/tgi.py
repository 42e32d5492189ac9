"""Tokens per second of Hugging Face's Text Generation Inference, with its own `/generate_stream`.

    VESPA_BENCHMARK=benchmarks.tgi:benchmark

It counts generated tokens, because `cost` is usually a request's `max_new_tokens`. BENCHMARKS.md lists the
environment variables.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.climb import Climb, Request, Source
from benchmarks.measure import concurrency, setting
from benchmarks.streams import Events, Refused, Size, require_success

if TYPE_CHECKING:
    from aiohttp import ClientSession

_MOST_TOKENS = 256


def get_test_request() -> tuple[str, dict[str, Any], float]:
    """The path, payload and cost of one request like those of the benchmark."""
    size = Size(_MOST_TOKENS)
    return "/generate", _payload(size), float(size.tokens)


async def benchmark(backend_url: str, session: ClientSession) -> float:
    """The highest throughput in tokens per second, at the concurrency at which it stops growing."""
    climb = Climb(Generate(session), concurrency(64), setting("BENCHMARK_RUNS", 3))
    print(f"warming up {backend_url}")
    return await climb.run()


class Generate(Source):
    """Requests for generated text."""

    def __init__(self, session: ClientSession) -> None:
        self._session = session
        self._size = Size(_MOST_TOKENS)

    def make(self) -> Request:
        return Request(self._size.tokens)

    async def send(self, request: Request) -> None:
        """Raises Refused. Shortens a request that is too long."""
        while True:
            sent = (self._size.words, self._size.tokens)
            try:
                await (self._stream(request) if self.streams else self._whole(request))
                return
            except Refused as error:
                if request.tokens or not error.too_long:
                    raise
                if sent == (self._size.words, self._size.tokens):  # otherwise another request has shrunk it already
                    self._size.shrink(error)
                request.most = self._size.tokens

    async def _stream(self, request: Request) -> None:
        route = "/generate_stream"
        events = Events(route, lambda event: bool(event.get("token")))
        async with self._session.post(route, json=_payload(self._size)) as response:
            await require_success(route, response)
            async for data in response.content.iter_any():
                if count := events.feed(data):
                    request.arrived(count)
        told = next((tokens for event in events.last() if (tokens := _told(event))), 0.0)
        request.finish(told or request.tokens)

    async def _whole(self, request: Request) -> None:
        route = "/generate"
        async with self._session.post(route, json=_payload(self._size)) as response:
            await require_success(route, response)
            answer = await response.json()
        tokens = _told(answer[0] if isinstance(answer, list) else answer)
        if not tokens:
            raise RuntimeError(f"{route} does not report how many tokens it generated")
        request.finish(tokens)


def _payload(size: Size) -> dict[str, Any]:
    parameters = {"max_new_tokens": size.tokens, "do_sample": True, "temperature": 0.7, "details": True}
    return {"inputs": size.prompt(), "parameters": parameters}


def _told(answer: dict[str, Any]) -> float:
    """The tokens in a response's `details`; 0 if there are none."""
    return float((answer.get("details") or {}).get("generated_tokens") or 0)
