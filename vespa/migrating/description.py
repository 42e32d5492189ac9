"""Describes a recorded configuration as the values of messages.py, in the process of a worker's file."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from itertools import islice
from typing import Any, Final

from vespa.migrating.checked_json import LARGEST
from vespa.migrating.messages import Benchmark, Description, Handler, Limit, Patterns
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
Described = tuple[Handler, Any]
"""A handler's description, and the file's own object."""


def text(value: object) -> str:
    """A value as text of bounded length; "" for None."""
    if value is None:
        return ""
    try:
        shown = value if isinstance(value, str) else str(value)
    except Exception:
        shown = f"<{type(value).__name__}>"
    return shown[:LONGEST_TEXT]


def number(value: object) -> Limit:
    """A number as such; None for None and infinity, which both mean no limit; anything else as text."""
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return None if value == math.inf else value if abs(value) <= LARGEST else text(value)
    return text(value)


def describe(config: Any) -> tuple[Description, list[Any]]:
    """
    The description of a WorkerConfig, or of the Backend of a file that has none, without the benchmark's requests.

    With it comes the file's own object for each of its handlers, which `add_requests` uses.
    """
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
    described = [_of_config(each) for each in handlers[:MOST_ITEMS]]
    found = Description(
        backend_url=url if port is None else f"{url}:{text(port)}",
        log_file=text(getattr(config, "model_log_file", None)),
        healthcheck_url=text(getattr(config, "model_healthcheck_url", None)),
        max_sessions=number(getattr(config, "max_sessions", None)),
        lifecycle=getattr(config, "lifecycle", None) is not None,
        patterns=Patterns(**patterns),
        handlers=[handler for handler, _ in described],
        left_out=max(0, len(handlers) - MOST_ITEMS),
    )
    return found, [origin for _, origin in described]


def _items(value: object) -> list[Any]:
    """A list as such, and a text as a list of one."""
    if isinstance(value, str):
        return [value]
    return list(islice(value, MOST_SEEN)) if isinstance(value, Iterable) else []


def _of_config(config: Any) -> Described:
    def get(name: str, default: Any = None) -> Any:
        return getattr(config, name, default)

    if get("handler_class") is not None:
        handler, origin = _of_handler(get("handler_class")(), text(get("route")))
        return replace(handler, handler_class=name_of(get("handler_class"))), origin
    benchmark = get("benchmark_config")
    described = Handler(
        route=text(get("route")),
        path=text(get("route")),
        parallel=bool(get("allow_parallel_requests")),
        max_queue_time=number(get("max_queue_time")),
        healthcheck=text(get("healthcheck")),
        parser=name_of(get("request_parser")),
        generator=name_of(get("response_generator")),
        calculator=name_of(get("workload_calculator")),
        payload_class=name_of(get("payload_class")),
        remote=get("remote_function") is not None,
        benchmark=None
        if benchmark is None
        else _rounds(
            getattr(benchmark, "runs", None),
            getattr(benchmark, "concurrency", None),
            # Vast's own worker reads do_warmup only if concurrency is set.
            not getattr(benchmark, "concurrency", None) or getattr(benchmark, "do_warmup", True),
        ),
    )
    return described, config


def _of_handler(handler: Any, route: str) -> Described:
    """The description of an EndpointHandler, which has methods in place of functions."""
    path = text(handler.endpoint)
    has_benchmark = getattr(handler, "has_benchmark", True)
    described = Handler(
        route=route or path,
        path=path,
        parallel=bool(getattr(handler, "allow_parallel_requests", False)),
        max_queue_time=number(getattr(handler, "max_queue_time", None)),
        healthcheck=text(getattr(handler, "healthcheck_endpoint", None)),
        payload_class=name_of(handler.payload_cls()),
        handler_class=name_of(type(handler)),
        remote=getattr(handler, "remote_function", None) is not None,
        benchmark=_rounds(
            getattr(handler, "benchmark_runs", None),
            getattr(handler, "concurrency", None),
            getattr(handler, "do_warmup_benchmark", True),
        )
        if has_benchmark
        else None,
    )
    return described, handler


def _of_backend(fields: dict[str, Any]) -> tuple[Description, list[Any]]:
    """The description of a Backend and its routes, as PyWorkers had it before they had a WorkerConfig."""
    benchmarked = fields["benchmark_handler"]
    described: list[Described] = []
    for route in fields.get("routes", ()):
        handler = getattr(getattr(route, "handler", None), "endpoint_handler", None)
        if handler is not None:
            of_route, origin = _of_handler(handler, text(getattr(route, "path", "")))
            described.append((replace(of_route, benchmark=None), origin))
    measured, origin = _of_handler(benchmarked, "")
    for of_route, _ in described:
        if of_route.path == measured.path:
            of_route.benchmark = measured.benchmark
            break
    else:
        described.append((measured, origin))
    handlers = [each for each, _ in described]
    wait = number(fields.get("max_wait_time", 10.0))
    has_no_wait = not hasattr(benchmarked, "max_queue_time") or all(each.max_queue_time is None for each in handlers)
    for each in handlers:
        if "allow_parallel_requests" in fields:
            each.parallel = bool(fields["allow_parallel_requests"])
        if has_no_wait:
            each.max_queue_time = wait
    patterns: dict[str, list[str]] = {"on_load": [], "on_error": [], "on_info": []}
    kinds = dict(zip(("ModelLoaded", "ModelError", "Info"), patterns, strict=True))
    for action, pattern in islice(fields.get("log_actions") or (), MOST_ITEMS):
        patterns[kinds.get(getattr(action, "name", ""), "on_info")].append(text(pattern))
    found = Description(
        backend_url=text(fields.get("model_server_url")),
        log_file=text(fields.get("model_log_file")),
        healthcheck_url=text(fields.get("healthcheck_url")) or text(getattr(benchmarked, "healthcheck_endpoint", None)),
        max_sessions=number(fields.get("max_sessions", 10)),
        lifecycle=fields.get("lifecycle") is not None,
        patterns=Patterns(**patterns),
        handlers=handlers[:MOST_ITEMS],
        left_out=max(0, len(handlers) - MOST_ITEMS),
    )
    return found, [each for _, each in described[:MOST_ITEMS]]


def _rounds(runs: object, concurrency: object, warmup: object) -> Benchmark:
    return Benchmark(
        runs=min(runs, LARGEST) if type(runs) is int and runs > 0 else DEFAULT_RUNS,
        concurrency=min(concurrency, LARGEST) if type(concurrency) is int and concurrency > 0 else DEFAULT_CONCURRENCY,
        warmup=bool(warmup),
    )


def without_requests(found: Description, why: str) -> Description:
    """The description with `why` as the error of each benchmark."""
    handlers = [
        replace(each, benchmark=each.benchmark and replace(each.benchmark, error=why)) for each in found.handlers
    ]
    return replace(found, handlers=handlers)


def add_requests(found: Description, origins: list[Any]) -> None:
    """
    Let the first benchmark make its requests, and try the parsers: this calls functions of the file.

    Officially there is only one benchmark.
    """
    sample = ""
    first = True
    for handler, origin in zip(found.handlers, origins, strict=True):
        if (benchmark := handler.benchmark) is None:
            continue
        if first:
            _take_requests(benchmark, handler.parallel, origin)
            sample = benchmark.requests[0][0] if benchmark.requests else ""
        else:
            benchmark.error = "the first benchmark is read alone"
        first = False
    for handler, origin in zip(found.handlers, origins, strict=True):
        if (parser := getattr(origin, "request_parser", None)) is not None:
            handler.parser_does = effect_of_parser(parser, sample or A_REQUEST)


def _take_requests(benchmark: Benchmark, parallel: bool, origin: Any) -> None:
    try:
        take(benchmark, parallel, maker(origin))
    except NoRequest as error:
        benchmark.error = text(error)
    except (Exception, SystemExit) as error:
        benchmark.error = text(f"it raised {type(error).__name__}: {error}")
        if isinstance(error, KeyError) and str(error).isupper():  # a variable of the environment, most likely
            benchmark.error += ". Run the command with the variables that the template sets"


def name_of(function: Any) -> str:
    """What to call a function or class in a sentence; "" for None."""
    if function is None:
        return ""
    name = text(getattr(function, "__qualname__", None) or type(function).__name__).replace("<locals>.", "")
    return "a lambda" if "<lambda>" in name else name
