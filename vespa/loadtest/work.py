"""The requests that a benchmark module's `get_test_request` returns, ready to be sent."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from decimal import Decimal
from numbers import Real
from typing import Any

from attrs import frozen

from vespa.runtime.importing import import_place

TestRequest = Callable[[], object]  # a benchmark module's `get_test_request() -> (path, payload, cost)`


@frozen
class Work:
    """One POST of JSON. `streamed`: it asks for a stream."""

    path: str
    body: bytes
    cost: float
    streamed: bool


def cost_text(cost: float) -> str:
    """A cost as a header field's value: with all digits, without exponent."""
    return str(int(cost)) if cost.is_integer() else format(Decimal(repr(cost)), "f")


class BadWork(Exception):
    """A benchmark module returned something that is not a request; says why."""


def find_test_request(spec: str) -> TestRequest:
    """
    The `get_test_request` of `module`, `path/of/file.py`, or either followed by `:benchmark`.

    Raises BadWork if there is none, or if the import fails.
    """
    place = spec if spec.endswith(".py") else spec.rpartition(":")[0] or spec
    try:
        module = import_place(place)
    except BaseException as error:  # an import may raise anything, also SystemExit
        if isinstance(error, KeyboardInterrupt):
            raise
        raise BadWork(f"cannot import {place}: {type(error).__name__}: {error}") from error
    found: TestRequest | None = getattr(module, "get_test_request", None)
    if not callable(found):
        raise BadWork(
            f"{place} has no get_test_request(): it must return (path, payload, cost) of one request to send, "
            "like benchmarks/openai_chat.py"
        )
    return found


def prepare(given: object, stream: bool | None) -> Work:
    """
    Prepare the return value of `get_test_request`.

    `stream` asks for a stream or not. None asks for one if the payload is like OpenAI's and does not say. Raises
    BadWork.
    """
    if not isinstance(given, tuple | list) or len(given) != 3:
        raise BadWork(f"get_test_request() must return (path, payload, cost), not {type(given).__name__}")
    path, payload, cost = given
    if not isinstance(path, str) or not path.startswith("/"):
        raise BadWork(f"get_test_request() returned {path!r} as the path: it must begin with /")
    if any(not "!" <= character <= "~" for character in path):
        raise BadWork(f"get_test_request() returned {path!r} as the path: it must be ASCII, without spaces")
    if isinstance(cost, bool) or not isinstance(cost, Real) or not math.isfinite(cost) or cost < 0:
        raise BadWork(f"get_test_request() returned {cost!r} as the cost: it must be a number, 0 or more")
    path, payload, streamed = _ask_for_stream(path, payload, stream)
    try:
        body = json.dumps(payload).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise BadWork(f"get_test_request() returned a payload that is not JSON: {error}") from None
    return Work(path, body, float(cost), streamed)


def _ask_for_stream(path: str, payload: Any, stream: bool | None) -> tuple[str, Any, bool]:
    """
    Path and payload, changed to ask for a stream or not, and whether they ask for one.

    OpenAI-like payloads (`messages` or `prompt`) have a member for it; TGI has a path. Raises BadWork if a stream
    is wanted and there is no way to ask for it.
    """
    is_object = isinstance(payload, dict)
    route, question, query = path.partition("?")
    if is_object and "inputs" in payload and route.endswith(("/generate", "/generate_stream")):
        streamed = route.endswith("_stream") if stream is None else stream
        route = route.removesuffix("_stream") + "_stream" * streamed
        return route + question + query, payload, streamed
    if is_object and ("messages" in payload or "prompt" in payload):
        if stream is None and "stream" in payload:
            return path, payload, bool(payload["stream"])
        if stream is False:
            return path, {k: v for k, v in payload.items() if k not in ("stream", "stream_options")}, False
        asked = {**payload, "stream": True}
        if route.endswith("/completions"):
            asked.setdefault("stream_options", {"include_usage": True})  # so that it reports its tokens
        return path, asked, True
    if stream and not (is_object and payload.get("stream")):
        raise BadWork("--stream: Vespa knows no way to ask for a stream with this payload")
    return path, payload, is_object and payload.get("stream") is True
