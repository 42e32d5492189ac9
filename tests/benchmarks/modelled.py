"""A backend that is a curve, tokens a second by requests at once, under an event loop whose time only waiting moves."""

from __future__ import annotations

import asyncio
import json
import selectors
from collections.abc import AsyncIterator, Callable, Coroutine
from types import SimpleNamespace
from typing import Any, TypeVar

_T = TypeVar("_T")


class VirtualLoop(asyncio.SelectorEventLoop):
    """Time passes only where nothing else is to be done, and then at once."""

    def __init__(self) -> None:
        self.seconds = 0.0
        selector = selectors.DefaultSelector()
        super().__init__(selector)
        real = selector.select

        def select(timeout: float | None = None) -> Any:
            if timeout is None:
                raise AssertionError("everything waits, and for nothing")
            self.seconds += max(0.0, timeout)
            return real(0)

        selector.select = select  # type: ignore[method-assign]

    def time(self) -> float:
        return self.seconds


def run(scenario: Coroutine[Any, Any, _T]) -> tuple[_T, float]:
    """The scenario's result, and the seconds that it took by its own clock."""
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(scenario), loop.seconds
    finally:
        loop.close()


class Model:
    """An OpenAI-compatible backend that generates at `curve(streams)` tokens a second in all."""

    def __init__(
        self,
        curve: Callable[[int], float],
        *,
        first_token: float = 0.0,
        slots: int = 10_000,
        piece: int = 1,
        noise: Callable[[], float] = lambda: 1.0,
        usage: bool = True,
        reading: float = 0.0,
    ) -> None:
        """
        `first_token`: seconds of each prompt. `slots`: requests that generate at once, others wait. `piece`: tokens
        in an event. `reading`: seconds for which a prompt keeps the whole backend busy. `noise` is a factor on the time
        of each token.
        """
        self.curve = curve
        self.first_token = first_token
        self.slots = slots
        self.piece = piece
        self.noise = noise
        self.usage = usage
        self.reading = reading
        self.engine: asyncio.Lock | None = None
        self.active = 0
        self.most = 0
        self.waiting: asyncio.Semaphore | None = None
        self.context = 10**9
        self.refuses: Callable[[dict[str, Any]], tuple[int, str] | None] = lambda sent: None
        self.models: tuple[int, Any] = (200, {"data": [{"id": "tiny"}]})
        self.sent: list[dict[str, Any]] = []
        self.streamed = 0
        self.told: dict[str, str] = {}

    def get(self, route: str, **options: Any) -> Any:
        return _Entered(self.list_models())

    def post(self, route: str, *, json: dict[str, Any]) -> Any:
        return _Entered(self._answer(route, json))

    async def list_models(self) -> Any:
        status, response = self.models
        return _answer(status, json.dumps(response))

    async def _answer(self, route: str, sent: dict[str, Any]) -> Any:
        self.sent.append(sent)
        prompt = str(sent.get("messages") or sent.get("prompt") or sent.get("inputs"))
        limit = sent.get("max_tokens") or sent["parameters"]["max_new_tokens"]
        if len(prompt.split()) + limit > self.context:
            return _answer(400, "the request exceeds the available context size, try increasing it")
        if refused := self.refuses(sent):
            return _answer(*refused)
        if route == "/generate_stream":
            return SimpleNamespace(status=200, headers={}, content=_Content(self._tgi(limit)))
        if not sent.get("stream"):
            async for _ in self.tokens(limit):
                pass
            return _answer(200, json.dumps({"usage": _usage(limit, prompt)}))
        headers = {"Content-Type": "text/event-stream"}
        options = sent.get("stream_options") and self.usage
        content = _Content(self.events(limit, _usage(limit, prompt) if options else None))
        return SimpleNamespace(status=200, headers=headers, content=content)

    async def events(self, limit: int, usage: dict[str, int] | None) -> AsyncIterator[bytes]:
        self.streamed += 1
        yield _event({"choices": [{"delta": {"role": "assistant", "content": ""}}]})
        async for count in self.tokens(limit):
            yield _event({"choices": [{"delta": {"content": "a"}}]}) * max(1, count // self.piece)
        yield _event({"choices": [{"delta": {}, "finish_reason": "length"}]})
        if usage:
            yield _event({"choices": [], "usage": usage})
        yield b"data: [DONE]\n\n"

    async def _tgi(self, limit: int) -> AsyncIterator[bytes]:
        async for count in self.tokens(limit):
            yield _event({"token": {"text": "a"}, "details": None}) * count
        yield _event({"token": {"text": "a"}, "details": {"generated_tokens": limit}})

    async def tokens(self, limit: int) -> AsyncIterator[int]:
        """How many tokens have come, each time that some have."""
        if self.waiting is None:
            self.waiting = asyncio.Semaphore(self.slots)
        async with self.waiting:
            self.active += 1
            self.most = max(self.most, self.active)
            try:
                await asyncio.sleep(self.first_token)
                if self.engine is None:
                    self.engine = asyncio.Lock()
                if self.reading:
                    async with self.engine:
                        await asyncio.sleep(self.reading)
                left = limit
                while left > 0:
                    gap = self.active / self.curve(self.active)
                    count = min(left, max(self.piece, int(0.1 / gap)))
                    await asyncio.sleep(count * gap * self.noise())
                    if self.engine.locked():
                        async with self.engine:
                            pass
                    left -= count
                    yield count
            finally:
                self.active -= 1


async def load(model: Model, level: int, tokens: int, each: int) -> float:
    """Tokens a second of an independent load: so many at once, `each` whole requests one after the other."""
    began = asyncio.get_running_loop().time()

    async def place() -> None:
        for _ in range(each):
            async for _ in model.tokens(tokens):
                pass

    await asyncio.gather(*[place() for _ in range(level)])
    return level * each * tokens / (asyncio.get_running_loop().time() - began)


class _Entered:
    """What a session's request is: entered, it gives the response; left, it wants no more of it."""

    def __init__(self, scenario: Coroutine[Any, Any, Any]) -> None:
        self._scenario = scenario
        self._response: Any = None

    async def __aenter__(self) -> Any:
        self._response = await self._scenario
        return self._response

    async def __aexit__(self, *raised: object) -> None:
        if content := getattr(self._response, "content", None):
            await content.close()


class _Content:
    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self._pieces = pieces

    def iter_any(self) -> AsyncIterator[bytes]:
        return self._pieces

    async def close(self) -> None:
        await self._pieces.aclose()  # type: ignore[attr-defined]


def _answer(status: int, body: str) -> Any:
    async def text() -> str:
        return body

    async def read_json() -> Any:
        return json.loads(body)

    return SimpleNamespace(status=status, headers={"Content-Type": "application/json"}, text=text, json=read_json)


def _usage(completion: int, prompt: str) -> dict[str, int]:
    asked = len(prompt.split())
    return {"completion_tokens": completion, "prompt_tokens": asked, "total_tokens": completion + asked}


def _event(value: object) -> bytes:
    return f"data: {json.dumps(value)}\n\n".encode()
