"""Takes the requests of an official benchmark, in the process of a worker's file, and their work."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, Final, Literal

from vespa.migrating.checked_json import LARGEST
from vespa.migrating.messages import MOST_BYTES, Benchmark

MOST_REQUESTS: Final = 256
SAME: Final = 8
"""If so many requests in a row are the same, all are taken to be."""
DEFAULT_WORKLOAD: Final = 100.0
"""What Vast's own worker counts for a request if there is no calculator, or if it fails."""


class NoRequest(Exception):
    """Why there is no request to send, in words."""


class Maker:
    """Makes the requests of one handler's benchmark as Vast's own worker does."""

    def __init__(self, source: str, make: Callable[[int], Any], work: Callable[[Any], float], total: int = 0) -> None:
        """
        `source` is what the requests come from. `make` returns the request of a number, counted from 0, as the value
        that is sent as JSON, and may raise anything. `work` returns its work. `total`: how many there are; 0: no end.
        """
        self.source = source
        self.make = make
        self.work = work
        self.total = total

    def requests(self, wanted: int) -> Iterator[tuple[str, float]]:
        """Up to `wanted` requests as JSON and their work. Raises what the file's functions raise."""
        for index in range(min(wanted, self.total or wanted)):
            payload = self.make(index)
            try:
                text = json.dumps(payload, allow_nan=False)
            except (TypeError, ValueError, RecursionError) as error:
                raise NoRequest(f"request {index + 1} cannot be sent as JSON: {error}") from error
            yield text, self.work(payload)


def maker(config: Any) -> Maker:
    """The maker of a HandlerConfig or an EndpointHandler."""
    if hasattr(config, "make_benchmark_payload"):
        return _of_class("handler", config.make_benchmark_payload)
    if getattr(config, "remote_function", None) is not None:
        raise NoRequest("it calls a Python function, not the backend")
    if payload_class := getattr(config, "payload_class", None):
        return _of_class("payload class", payload_class.for_test)
    benchmark = config.benchmark_config
    work = _counted_by(getattr(config, "workload_calculator", None))
    if dataset := getattr(benchmark, "dataset", None):
        # What has no length may have no end. Vast's own worker takes rows by their numbers.
        rows = dataset if isinstance(dataset, Sequence) else list(islice(dataset, MOST_REQUESTS))
        return Maker("data set", rows.__getitem__, work, len(rows))
    if generator := getattr(benchmark, "generator", None):
        return Maker("generator", lambda index: generator(), work)
    raise NoRequest("its BenchmarkConfig has neither a data set nor a generator")


def take(benchmark: Benchmark, parallel: bool, made: Maker) -> None:
    """Fill a description's `benchmark` with requests, or with the error that prevents it."""
    benchmark.source = made.source
    needed = benchmark.runs * (benchmark.concurrency if parallel else 1) + benchmark.warmup
    wanted = made.total or min(needed, MOST_REQUESTS)
    requests: list[tuple[str, float]] = []
    size = 0
    for text, work in made.requests(min(wanted, MOST_REQUESTS)):
        size += len(text)
        if requests and size > MOST_BYTES:
            break
        if size > MOST_BYTES:
            raise NoRequest(f"its first request has {size} bytes as JSON; {MOST_BYTES} are possible here")
        requests.append((text, work))
        if len(requests) == SAME and len(set(requests)) == 1 and not made.total:
            wanted = 1
            del requests[1:]
            break
    benchmark.cut = min(max(0, wanted - len(requests)), LARGEST)
    benchmark.requests = requests


def effect_of_parser(parse: Callable[[Any], Any], request: str) -> Literal["nothing", "input", "other"]:
    """What a request parser does: "nothing", "input" (it takes the object in `input` if there is one), "other"."""
    try:
        unchanged = parse(json.loads(request)) == json.loads(request)
        inner = {"a": 1}
        unwrapped = parse({"input": copy.deepcopy(inner)}) == inner
    except Exception:
        return "other"
    return ("input" if unwrapped else "nothing") if unchanged or unwrapped else "other"


def _counted_by(calculator: Callable[[Any], Any] | None) -> Callable[[Any], float]:
    def work(payload: Any) -> float:
        if calculator is None:
            return DEFAULT_WORKLOAD
        try:
            counted = float(calculator(payload))
        except Exception:
            return DEFAULT_WORKLOAD
        return counted if math.isfinite(counted) and counted >= 0 else DEFAULT_WORKLOAD

    return work


def _of_class(source: str, make: Callable[[], Any]) -> Maker:
    """A maker for payload objects, which know their JSON and their work."""
    works: dict[int, float] = {}

    def sent(index: int) -> Any:
        payload = make()
        multipart = getattr(payload, "generate_payload_multipart", None)
        if multipart is not None and multipart() is not None:
            raise NoRequest("it sends multipart forms, not JSON")
        value = payload.generate_payload_json()
        counted = float(payload.count_workload())
        works[id(value)] = counted if math.isfinite(counted) else DEFAULT_WORKLOAD
        return value

    return Maker(source, sent, lambda value: works.pop(id(value), DEFAULT_WORKLOAD))
