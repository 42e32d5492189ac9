"""A benchmark for tests: short, and true of any backend that speaks OpenAI's API."""

from __future__ import annotations

from typing import Any

WORK = 20


async def benchmark(backend_url: str, session: Any) -> float:
    """Units of work a second, by one request of WORK tokens, taken to last a tenth of a second."""
    asked = {"model": "any", "messages": [{"role": "user", "content": "hello"}], "max_tokens": WORK}
    async with session.post("/v1/chat/completions", json=asked) as response:
        if response.status != 200:
            raise RuntimeError(f"the backend answered {response.status}")
        await response.json()
    return WORK / 0.1
