"""Tokens per second of an OpenAI-compatible backend: vLLM, SGLang, llama.cpp, Ollama, TGI.

    VESPA_BENCHMARK=benchmarks.openai_chat:benchmark

Counts the tokens that were generated, since `cost` is by custom a request's `max_tokens`. BENCHMARKS.md lists the
environment variables.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from benchmarks.measure import best_of, concurrency, setting, words

if TYPE_CHECKING:
    from vespa.benchmarking.contract import Session

_COUNTED = {"completion": "completion_tokens", "total": "total_tokens"}


def get_test_request() -> tuple[str, dict[str, Any], float]:
    """(path, payload, cost) of one request like those that the benchmark sends."""
    route = os.environ.get("BENCHMARK_ROUTE") or "/v1/chat/completions"
    most = setting("BENCHMARK_MAX_TOKENS", 500)
    prompt = "Write a long story in which all of these words occur: " + words(setting("BENCHMARK_PROMPT_WORDS", 250))
    payload: dict[str, Any] = {"max_tokens": most, "temperature": 0.7}
    if route.endswith("/chat/completions"):
        payload["messages"] = [{"role": "user", "content": prompt}]
    else:
        payload["prompt"] = prompt
    if model := os.environ.get("MODEL_NAME"):
        payload["model"] = model
    return route, payload, float(most)


async def benchmark(backend_url: str, session: Session) -> float:
    """The best of a few rounds of concurrent requests, in tokens per second."""
    wanted = os.environ.get("BENCHMARK_COUNT") or "completion"
    if wanted not in _COUNTED:
        raise ValueError(f"BENCHMARK_COUNT is {wanted!r}: it must be one of {', '.join(_COUNTED)}")
    changes: dict[str, Any] = {"model": os.environ.get("MODEL_NAME") or await first_model(session)}
    runs, at_once = setting("BENCHMARK_RUNS", 3), concurrency(10)
    print(f"warming up {changes['model']} at {backend_url}")
    if not await send(session, changes, wanted):
        print("its answers do not tell their tokens: counting the pieces of streams instead")
        changes["stream"] = True
        if not await send(session, changes, wanted):
            raise RuntimeError("it neither tells its tokens nor streams any")
    return await best_of(runs, at_once, lambda: send(session, changes, wanted))


async def first_model(session: Session) -> str:
    """The first model that the backend says it serves."""
    async with session.get("/v1/models") as response:
        if response.status != 200:
            raise RuntimeError(f"set MODEL_NAME: /v1/models answered {response.status}")
        models = (await response.json()).get("data") or []
    if not models:
        raise RuntimeError("set MODEL_NAME: /v1/models lists none")
    return str(models[0]["id"])


async def send(session: Session, changes: dict[str, Any], wanted: str) -> float:
    """Send one request; gives the tokens that it took, 0 where the answer does not tell."""
    route, payload, _ = get_test_request()
    async with session.post(route, json={**payload, **changes}) as response:
        if response.status != 200:
            raise RuntimeError(f"{route} answered {response.status}: {(await response.text())[:300]}")
        if "stream" not in changes:
            return told(await response.json(), wanted)
        pieces, tokens = 0, 0.0
        async for line in response.content:
            if line.startswith(b"data:") and line[5:].strip() != b"[DONE]":
                event = json.loads(line[5:])
                pieces += any(has_text(choice) for choice in event.get("choices") or [])
                tokens = told(event, wanted) or tokens
        return tokens or pieces


def told(answer: dict[str, Any], wanted: str) -> float:
    """The tokens in an answer's `usage`."""
    return float((answer.get("usage") or {}).get(_COUNTED[wanted]) or 0)


def has_text(choice: dict[str, Any]) -> bool:
    """Whether a piece of a stream carries a token, a thinking model's thoughts too."""
    delta = choice.get("delta") or choice
    return any(delta.get(name) for name in ("content", "reasoning_content", "reasoning", "text"))
