"""Writes a benchmark of Vespa's with the requests of a PyWorker's benchmark."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Final

from vespa.migrating.messages import Benchmark, Handler

_MODULE: Final = '''\
"""The benchmark of {route}, made by `vespa-proxy migrate`.

It measures as Vast's own worker does: {runs} rounds of {concurrency} requests at once, of which the best one counts.
Requests of a status other than 200 count as no work. BENCHMARKS.md of Vespa says what a benchmark is.
"""

from __future__ import annotations

import itertools
import json
import os
from typing import TYPE_CHECKING, Any

from benchmarks.measure import best_of, concurrency

if TYPE_CHECKING:
    from aiohttp import ClientSession

ROUTE = {path}
RUNS = {runs}
CONCURRENCY = {concurrency}  # never more than the worker admits
SECRETS: tuple[str, ...] = {secrets}  # variables whose values stand for <NAME> in the requests
REQUESTS: list[tuple[str, float]] = [  # JSON, and the work of the request: the `cost` that callers give
{requests}
]
_next = itertools.cycle(REQUESTS)


def get_test_request() -> tuple[str, Any, float]:
    """The path, payload and cost of the next request."""
    text, cost = next(_next)
    for name in SECRETS:
        text = text.replace(f"<{{name}}>", json.dumps(os.environ.get(name, ""))[1:-1])
    return ROUTE, json.loads(text), cost


async def send(session: ClientSession) -> float:
    """Send the next request, and return its work."""
    route, payload, cost = get_test_request()
    async with session.post(route, json=payload) as response:
        body = await response.read()
    if response.status != 200:
        raise RuntimeError(f"{{route}} answered {{response.status}}: {{body[:200]!r}}")
    return cost


async def benchmark(backend_url: str, session: ClientSession) -> float:
    """The best throughput of the rounds, in units of work a second."""
{warmup}    return await best_of(RUNS, concurrency(CONCURRENCY), lambda: send(session), "units")
'''
_WARMUP: Final = "    await send(session)  # the first request may load the model\n"


def module(handler: Handler, benchmark: Benchmark, hidden: Sequence[str]) -> str:
    """
    The source of the module, for a handler and its benchmark, which has requests. It is ASCII.

    `hidden` are the variables whose names may stand in the requests in place of their values.
    """
    texts = [text for text, _ in benchmark.requests]
    secrets = tuple(name for name in hidden if any(f"<{name}>" in text for text in texts))
    requests = "\n".join(f"    ({_literal(text)}, {float(work)!r})," for text, work in benchmark.requests)
    return _MODULE.format(
        route=re.sub(r"[^!-\[\]-~]|\"", "?", handler.route),  # in a docstring: no backslash, no quotation mark
        path=_literal(handler.path),
        runs=benchmark.runs,
        concurrency=benchmark.concurrency if handler.parallel else 1,
        secrets=ascii(secrets),
        requests=requests,
        warmup=_WARMUP if benchmark.warmup else "",
    )


def _literal(text: str) -> str:
    """The text as a Python literal, in double quotes where that needs no escapes."""
    return json.dumps(text) if '"' not in text and text.isascii() and text.isprintable() else ascii(text)
