"""Descriptions of official workers, as child.py gives them."""

from __future__ import annotations

from typing import Any


def handler(route: str = "/v1/completions", **changes: Any) -> dict[str, Any]:
    """A handler's description: parallel, 600 s, without functions of its own."""
    return {
        "route": route,
        "path": route,
        "parallel": True,
        "max_queue_time": 600.0,
        "healthcheck": "",
        "parser": "",
        "generator": "",
        "calculator": "",
        "payload_class": "",
        "handler_class": "",
        "remote": False,
        "benchmark": None,
        **changes,
    }


def benchmark(*requests: tuple[str, float], **changes: Any) -> dict[str, Any]:
    """A benchmark's description."""
    return {
        "runs": 2,
        "concurrency": 4,
        "warmup": True,
        "source": "data set",
        "requests": [*requests],
        "cut": 0,
        "error": "",
        **changes,
    }


def found(*handlers: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A worker's description."""
    return {
        "backend_url": "http://127.0.0.1:18000",
        "log_file": "",
        "healthcheck_url": "/health",
        "max_sessions": 10,
        "lifecycle": False,
        "patterns": {"on_load": [], "on_error": [], "on_info": []},
        "handlers": [*handlers],
        "left_out": 0,
        **changes,
    }


def answer(described: dict[str, Any] | None, **changes: Any) -> dict[str, Any]:
    """An answer of the process."""
    return {
        "package": "",
        "package_error": "",
        "end": {"how": "served"},
        "found": described,
        "unknown": [],
        "options": {},
        "programs": [],
        "workers": 1,
        **changes,
    }
