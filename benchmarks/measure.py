"""Parts that the built-in benchmarks share: settings, prompts, and the best of a few rounds."""

from __future__ import annotations

import asyncio
import functools
import os
import random
import time
from collections.abc import Awaitable, Callable

from vespa.benchmarking.contract import Level, report_level, report_progress

_WORDS = (
    "river stone garden window letter winter music candle forest bridge story mountain silver ocean paper shadow "
    "morning engine harbor meadow clock lantern village thunder copper island feather mirror orchard pepper railway "
    "saddle temple umbrella valley whisper anchor basket cabin desert ember falcon glacier hammer insect jungle kettle "
    "ladder marble needle oyster planet quarry ribbon signal timber uncle velvet wagon yellow zebra autumn blanket"
).split()


def setting(name: str, default: int) -> int:
    """A whole number from 1 up from the environment. Raises ValueError with the variable's name for anything else."""
    text = os.environ.get(name, "").strip()
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise ValueError(f"{name} is {text!r}: it must be a whole number, 1 or more")
    return int(text)


def concurrency(default: int) -> int:
    """The number of requests at once: BENCHMARK_CONCURRENCY or `default`, but at most what the worker admits."""
    wanted = setting("BENCHMARK_CONCURRENCY", default)
    if os.environ.get("VESPA_ALLOW_PARALLEL", "").strip().lower() in ("false", "0", "no", "off"):
        return 1
    for name in ("VESPA_MAX_CONCURRENCY", "VESPA_CONNECTION_LIMIT", "VESPA_CONNECTION_LIMIT_PER_HOST"):
        bound = os.environ.get(name, "").strip()
        if bound.isascii() and bound.isdigit() and int(bound) > 0:
            wanted = min(wanted, int(bound))
    return wanted


@functools.cache
def generator() -> random.Random:
    """The generator of random numbers, seeded by BENCHMARK_SEED, or new each time, so that no cache can help."""
    return random.Random(os.environ.get("BENCHMARK_SEED") or None)


def words(count: int) -> str:
    return " ".join(generator().choices(_WORDS, k=count))


async def best_of(runs: int, at_once: int, send: Callable[[], Awaitable[float]], unit: str = "tokens") -> float:
    """The best throughput of `runs` rounds of `at_once` requests each, in `unit` a second.

    `send` sends one request and returns its work. Failed requests count as no work. If all requests of a round fail,
    the benchmark fails with the first error.
    """
    best = 0.0
    for run in range(1, runs + 1):
        began = time.perf_counter()
        outcomes = await asyncio.gather(*[send() for _ in range(at_once)], return_exceptions=True)
        seconds = time.perf_counter() - began
        errors = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        work = sum(outcome for outcome in outcomes if not isinstance(outcome, BaseException))
        for error in errors:
            print(f"a request failed: {type(error).__name__}: {error}")
        if len(errors) == at_once:
            raise errors[0]
        if work <= 0:
            raise RuntimeError(f"the backend returned no {unit}")
        best = max(best, work / seconds)
        level = Level(at_once, work / seconds, None, unit, at_once - len(errors), len(errors), seconds)
        report_level(level)
        report_progress(run / runs)
        done = f"{at_once - len(errors)} of {at_once} requests"
        print(f"run {run} of {runs}: {done}, {work:g} {unit} in {seconds:.2f} s, {work / seconds:.1f} {unit}/s")
    return best
