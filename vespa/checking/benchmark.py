"""Examines the worker's benchmark: whether it can be imported, and whether a result of it is kept."""

from __future__ import annotations

import os
from typing import Final

from twisted.internet.interfaces import IReactorTime

from vespa.benchmarking.cache import BenchmarkCache
from vespa.benchmarking.process import BenchmarkError
from vespa.benchmarking.runner import Runner, TookTooLong
from vespa.checking.finding import Finding, failed, ok, warning
from vespa.config.worker import WorkerSettings

IMPORT_SECONDS: Final = 30.0  # a module that imports PyTorch takes ten


async def check_benchmark(runner: Runner, clock: IReactorTime, settings: WorkerSettings) -> list[Finding]:
    """Import the benchmark in a process of its own, as the worker does at its start, without running it."""
    spec = settings.benchmark
    if not spec and settings.secured:
        return []  # a mistake in the settings, which says what to do
    if not spec:
        why = "VESPA_BENCHMARK is not set, and need not be for an unsecured worker"
        return [ok("benchmark", f"{why}: no request gets 429 for its estimated wait")]
    lines: list[str] = []
    began = clock.seconds()
    limit = min(IMPORT_SECONDS, settings.benchmark_timeout)
    try:
        await runner.check(spec, timeout=limit, on_progress=lambda line: lines.append(line) if len(lines) < 5 else None)
    except TookTooLong:
        why = f"{spec} was not imported within {limit:g} s"
        return [warning("benchmark", why, "see what the module does when it is imported", benchmark=spec)]
    except BenchmarkError as error:
        advice = "correct VESPA_BENCHMARK or the module; BENCHMARKS.md shows how to write one"
        return [failed("benchmark", str(error), advice, benchmark=spec, output=lines)]
    seconds = clock.seconds() - began
    return [ok("benchmark", f"{spec} can be imported ({seconds:.1f} s)", benchmark=spec, seconds=seconds)]


def check_cache(cache: BenchmarkCache) -> tuple[list[Finding], float]:
    """What is known of an earlier measurement, and its throughput; 0.0 without one."""
    path = os.path.abspath(cache.path) if cache.path else "no file"
    result = cache.load()
    if result is None:
        return [ok("result", f"none that fits is kept in {path}: the worker measures when the backend is healthy")], 0.0
    at_once = f" with {result.concurrency} requests at once" if result.concurrency else ""
    why = f"{float(result):.1f} units/s{at_once} is kept in {path}: the worker does not measure again"
    return [ok("result", why, throughput=float(result), concurrency=result.concurrency, file=path)], float(result)
