"""Describes a recorded configuration in values that JSON can express, in the process of a worker's file.

A description has `backend_url`, `log_file`, `healthcheck_url`, `max_sessions`, `lifecycle`, `patterns`, and for each
handler in `handlers`: `route`, `path` (at the backend), `parallel`, `max_queue_time`, `healthcheck`, the names of the
functions and classes that it uses (`parser`, `generator`, `calculator`, `payload_class`, `handler_class`), `remote`,
and `benchmark`. That has `runs`, `concurrency`, `warmup`, `source`, `requests` (pairs of JSON text and work), `cut`
(how many were left out) and `error`. A handler's `origin` is the file's own object; `add_requests` takes it out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import islice
from typing import Any, Final

from vespa.migrating.samples import NoRequest, effect_of_parser, maker, take

LONGEST_TEXT: Final = 2000
MOST_ITEMS: Final = 100
"""Handlers, and patterns of each kind."""
MOST_SEEN: Final = 10_000
"""How many of them are counted: what a file gives in place of a list may have no end."""
A_REQUEST: Final = '{"prompt": "a"}'
"""What a parser is tried with where a benchmark has no requests."""
DEFAULT_RUNS: Final = 8
DEFAULT_CONCURRENCY: Final = 10


def text(value: object) -> str:
    """A value as text of bounded length; "" for None."""
    if value is None:
        return ""
    try:
        shown = value if isinstance(value, str) else str(value)
    except Exception:
        shown = f"<{type(value).__name__}>"
    return shown[:LONGEST_TEXT]


def number(value: object) -> float | str | None:
    """A number as such; None for None and infinity, which both mean no limit; anything else as text."""
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return None if value == math.inf else text(value) if math.isnan(value) else value
    return text(value)


def describe(config: Any) -> dict[str, Any]:
    """The description of a WorkerConfig, or of the Backend of a file that has none."""
    if hasattr(config, "fields") and "benchmark_handler" in config.fields:
        return _of_backend(config.fields)
    handlers = _items(getattr(config, "handlers", None))
    port = getattr(config, "model_server_port", None)
    url = text(getattr(config, "model_server_url", None))
    logs = getattr(config, "log_action_config", None)
    patterns = {
        kind: [text(each) for each in _items(getattr(logs, kind, None))[:MOST_ITEMS]]
        for kind in ("on_load", "on_error", "on_info")
    }
    return {
        "backend_url": url if port is None else f"{url}:{text(port)}",
        "log_file": text(getattr(config, "model_log_file", None)),
        "healthcheck_url": text(getattr(config, "model_healthcheck_url", None)),
        "max_sessions": number(getattr(config, "max_sessions", None)),
        "lifecycle": getattr(config, "lifecycle", None) is not None,
        "patterns": patterns,
        "handlers": [_of_config(each) for each in handlers[:MOST_ITEMS]],
        "left_out": max(0, len(handlers) - MOST_ITEMS),
    }


def _items(value: object) -> list[Any]:
    """A list as such, and a text as a list of one."""
    if isinstance(value, str):
        return [value]
    return list(islice(value, MOST_SEEN)) if isinstance(value, Iterable) else []


def _of_config(config: Any) -> dict[str, Any]:
    def get(name: str, default: Any = None) -> Any:
        return getattr(config, name, default)

    if get("handler_class") is not None:
        return {
            **_of_handler(get("handler_class")(), text(get("route"))),
            "handler_class": name_of(get("handler_class")),
        }
    benchmark = get("benchmark_config")
    return {
        "origin": config,
        "route": text(get("route")),
        "path": text(get("route")),
        "parallel": bool(get("allow_parallel_requests")),
        "max_queue_time": number(get("max_queue_time")),
        "healthcheck": text(get("healthcheck")),
        "parser": name_of(get("request_parser")),
        "generator": name_of(get("response_generator")),
        "calculator": name_of(get("workload_calculator")),
        "payload_class": name_of(get("payload_class")),
        "handler_class": "",
        "remote": get("remote_function") is not None,
        "benchmark": None if benchmark is None else _rounds(
            getattr(benchmark, "runs", None),
            getattr(benchmark, "concurrency", None),
            # The official worker reads do_warmup only if concurrency is set.
            not getattr(benchmark, "concurrency", None) or getattr(benchmark, "do_warmup", True),
        ),
    }  # fmt: skip


def _of_handler(handler: Any, route: str) -> dict[str, Any]:
    """The description of an EndpointHandler, which has methods in place of functions."""
    path = text(handler.endpoint)
    has_benchmark = getattr(handler, "has_benchmark", True)
    return {
        "origin": handler,
        "route": route or path,
        "path": path,
        "parallel": bool(getattr(handler, "allow_parallel_requests", False)),
        "max_queue_time": number(getattr(handler, "max_queue_time", None)),
        "healthcheck": text(getattr(handler, "healthcheck_endpoint", None)),
        "parser": "",
        "generator": "",
        "calculator": "",
        "payload_class": name_of(handler.payload_cls()),
        "handler_class": name_of(type(handler)),
        "remote": getattr(handler, "remote_function", None) is not None,
        "benchmark": _rounds(
            getattr(handler, "benchmark_runs", None),
            getattr(handler, "concurrency", None),
            getattr(handler, "do_warmup_benchmark", True),
        )
        if has_benchmark
        else None,
    }


def _of_backend(fields: dict[str, Any]) -> dict[str, Any]:
    """The description of a Backend and its routes, as PyWorkers had it before they had a WorkerConfig."""
    benchmarked = fields["benchmark_handler"]
    handlers = []
    for route in fields.get("routes", ()):
        handler = getattr(getattr(route, "handler", None), "endpoint_handler", None)
        if handler is not None:
            described = _of_handler(handler, text(getattr(route, "path", "")))
            handlers.append({**described, "benchmark": None})
    measured = _of_handler(benchmarked, "")
    for handler in handlers:
        if handler["path"] == measured["path"]:
            handler["benchmark"] = measured["benchmark"]
            break
    else:
        handlers.append(measured)
    if "allow_parallel_requests" in fields:
        handlers = [{**each, "parallel": bool(fields["allow_parallel_requests"])} for each in handlers]
    wait = number(fields.get("max_wait_time", 10.0))
    if not hasattr(benchmarked, "max_queue_time") or all(each["max_queue_time"] is None for each in handlers):
        handlers = [{**each, "max_queue_time": wait} for each in handlers]
    patterns: dict[str, list[str]] = {"on_load": [], "on_error": [], "on_info": []}
    kinds = dict(zip(("ModelLoaded", "ModelError", "Info"), patterns, strict=True))
    for action, pattern in fields.get("log_actions") or ():
        patterns[kinds.get(getattr(action, "name", ""), "on_info")].append(text(pattern))
    health = text(fields.get("healthcheck_url")) or text(getattr(benchmarked, "healthcheck_endpoint", None))
    return {
        "backend_url": text(fields.get("model_server_url")),
        "log_file": text(fields.get("model_log_file")),
        "healthcheck_url": health,
        "max_sessions": number(fields.get("max_sessions", 10)),
        "lifecycle": fields.get("lifecycle") is not None,
        "patterns": patterns,
        "handlers": handlers[:MOST_ITEMS],
        "left_out": max(0, len(handlers) - MOST_ITEMS),
    }


def _rounds(runs: object, concurrency: object, warmup: object) -> dict[str, Any]:
    return {
        "runs": runs if type(runs) is int and runs > 0 else DEFAULT_RUNS,
        "concurrency": concurrency if type(concurrency) is int and concurrency > 0 else DEFAULT_CONCURRENCY,
        "warmup": bool(warmup),
        "source": "",
        "requests": [],
        "cut": 0,
        "error": "",
    }


def without_requests(found: dict[str, Any], why: str) -> dict[str, Any]:
    """The description as values of JSON, with `why` as the error of each benchmark."""
    handlers = []
    for handler in found["handlers"]:
        benchmark = handler["benchmark"] and {**handler["benchmark"], "error": why}
        handlers.append({name: value for name, value in handler.items() if name != "origin"} | {"benchmark": benchmark})
    return {**found, "handlers": handlers}


def add_requests(found: dict[str, Any]) -> None:
    """
    Let the first benchmark make its requests, and try the parsers: this calls functions of the file.

    Officially there is only one benchmark.
    """
    sample = ""
    first = True
    for handler in found["handlers"]:
        if (benchmark := handler["benchmark"]) is None:
            continue
        if first:
            _take_requests(benchmark, handler)
            sample = benchmark["requests"][0][0] if benchmark["requests"] else ""
        else:
            benchmark["error"] = "the first benchmark is read alone"
        first = False
    for handler in found["handlers"]:
        if (parser := getattr(handler.pop("origin"), "request_parser", None)) is not None:
            handler["parser_does"] = effect_of_parser(parser, sample or A_REQUEST)


def _take_requests(benchmark: dict[str, Any], handler: dict[str, Any]) -> None:
    try:
        take(benchmark, handler["parallel"], maker(handler["origin"]))
    except NoRequest as error:
        benchmark["error"] = text(error)
    except (Exception, SystemExit) as error:
        benchmark["error"] = text(f"it raised {type(error).__name__}: {error}")


def name_of(function: Any) -> str:
    """What to call a function or class in a sentence; "" for None."""
    if function is None:
        return ""
    name = text(getattr(function, "__qualname__", None) or type(function).__name__).replace("<locals>.", "")
    return "a lambda" if "<lambda>" in name else name
