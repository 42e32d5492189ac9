"""Descriptions of PyWorkers, as the process of a file gives them."""

from __future__ import annotations

from typing import Any

from vespa.migrating.messages import Answer, Benchmark, Description, End, Handler, Patterns


def handler(route: str = "/v1/completions", **changes: Any) -> Handler:
    """A handler's description: parallel, 600 s, without functions of its own."""
    return Handler(**{"route": route, "path": route, "parallel": True, "max_queue_time": 600.0, **changes})


def benchmark(*requests: tuple[str, float], **changes: Any) -> Benchmark:
    """A benchmark's description."""
    values = {"runs": 2, "concurrency": 4, "warmup": True, "source": "data set", "requests": [*requests]}
    return Benchmark(**{**values, **changes})


def found(*handlers: Handler, **changes: Any) -> Description:
    """A worker's description."""
    values = {
        "backend_url": "http://127.0.0.1:18000",
        "log_file": "",
        "healthcheck_url": "/health",
        "max_sessions": 10,
        "lifecycle": False,
        "patterns": Patterns(),
        "handlers": [*handlers],
    }
    return Description(**{**values, **changes})


def answer(described: Description | None, **changes: Any) -> Answer:
    """An answer of the process."""
    return Answer(**{"end": End("served"), "found": described, "workers": 1, **changes})


def found_in(answer: Answer) -> Description:
    """The description in an answer that has one."""
    assert answer.found is not None, answer
    return answer.found


def benchmark_of(handler: Handler) -> Benchmark:
    """The benchmark of a handler that has one."""
    assert handler.benchmark is not None, handler
    return handler.benchmark
