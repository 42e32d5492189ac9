"""Tokens per second of Hugging Face's Text Generation Inference, by its own `/generate`.

    VESPA_BENCHMARK=benchmarks.tgi:benchmark

Counts the tokens that were generated, since `cost` is by custom a request's `max_new_tokens`. BENCHMARKS.md lists the
environment variables.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.measure import best_of, concurrency, setting, words

if TYPE_CHECKING:
    from vespa.benchmarking.contract import Session


def get_test_request() -> tuple[str, dict[str, Any], float]:
    """(path, payload, cost) of one request like those that the benchmark sends."""
    most = setting("BENCHMARK_MAX_TOKENS", 256)
    prompt = "Write a long story in which all of these words occur: " + words(setting("BENCHMARK_PROMPT_WORDS", 250))
    parameters = {"max_new_tokens": most, "do_sample": True, "temperature": 0.7, "details": True}
    return "/generate", {"inputs": prompt, "parameters": parameters}, float(most)


async def benchmark(backend_url: str, session: Session) -> float:
    """The best of a few rounds of concurrent requests, in tokens per second."""
    runs, at_once = setting("BENCHMARK_RUNS", 3), concurrency(10)
    print(f"warming up {backend_url}")
    await send(session)
    return await best_of(runs, at_once, lambda: send(session))


async def send(session: Session) -> float:
    """Send one request; gives the tokens that were generated."""
    route, payload, _ = get_test_request()
    async with session.post(route, json=payload) as response:
        if response.status != 200:
            raise RuntimeError(f"{route} answered {response.status}: {(await response.text())[:300]}")
        answer = await response.json()
    details = (answer[0] if isinstance(answer, list) else answer).get("details") or {}
    if "generated_tokens" not in details:
        raise RuntimeError(f"{route} does not tell how many tokens it generated")
    return float(details["generated_tokens"])
