"""Work per second of ComfyUI behind Vast's API wrapper, with `/generate/sync`. Each request is 100 units of work.

    VESPA_BENCHMARK=benchmarks.comfyui:benchmark

BENCHMARKS.md lists the environment variables.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from benchmarks.measure import best_of, concurrency, generator, setting, words

if TYPE_CHECKING:
    from aiohttp import ClientSession

COST = 100.0
# The link to the first provisioned workflow in Vast's ComfyUI image.
_PROVISIONED = "/opt/comfyui-api-wrapper/workflows/pyworker_benchmark.json"


def get_test_request() -> tuple[str, dict[str, Any], float]:
    """The path, payload and cost of one request like those of the benchmark."""
    request: dict[str, Any] = {"request_id": f"benchmark-{generator().getrandbits(64):x}"}
    if path := workflow_file():
        with open(path, encoding="utf-8") as file:
            request["workflow_json"] = json.load(file)
    else:
        request["modifier"] = "Text2Image"
        request["modifications"] = {
            "prompt": "a painting of " + words(8),
            "width": setting("BENCHMARK_TEST_WIDTH", 512),
            "height": setting("BENCHMARK_TEST_HEIGHT", 512),
            "steps": setting("BENCHMARK_TEST_STEPS", 20),
            "seed": generator().getrandbits(48),
        }
    return "/generate/sync", {"input": request}, COST


def workflow_file() -> str:
    """The workflow to measure with; empty for the wrapper's own Stable Diffusion one."""
    named = os.environ.get("VESPA_COMFYUI_BENCHMARK_FILE") or os.environ.get("BENCHMARK_JSON_PATH")
    return named or (_PROVISIONED if os.path.isfile(_PROVISIONED) else "")


async def benchmark(backend_url: str, session: ClientSession) -> float:
    """The best of a few requests, by default one at a time, in units of work per second."""
    _, payload, _ = get_test_request()
    if "workflow_json" in payload["input"]:
        print(f"measuring with the workflow {workflow_file()}")
        if "__RANDOM_INT__" not in json.dumps(payload):
            print("its seed is not __RANDOM_INT__: ComfyUI may answer from its cache, much faster than it can work")
    print(f"warming up {backend_url}")
    await send(session)
    return await best_of(setting("BENCHMARK_RUNS", 3), concurrency(1), lambda: send(session), "units")


async def send(session: ClientSession) -> float:
    """Send one request. Returns its work."""
    route, payload, cost = get_test_request()
    async with session.post(route, json=payload) as response:
        if response.status != 200:
            raise RuntimeError(f"{route} answered {response.status}: {(await response.text())[:300]}")
        answer = await response.json()
    # The wrapper answers 200 even if a job failed, and a failure is quick.
    status = answer.get("status") if isinstance(answer, dict) else None
    if status in ("failed", "timeout", "cancelled"):
        raise RuntimeError(f"{route} ended with {status}: {str(answer.get('message'))[:300]}")
    return cost
