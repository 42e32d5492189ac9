"""Every option of `vespa-proxy benchmark`. The rest of what it needs are settings of the worker."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from vespa.config import worker_reading
from vespa.config.reader import Given, Reading, SettingsError
from vespa.config.schema import option
from vespa.config.values import benchmark
from vespa.config.worker import WorkerSettings
from vespa.protocol.urls import BaseURL


@frozen(kw_only=True)
class BenchmarkSettings:
    """What to measure, and what to do with the result."""

    benchmark: str = option(
        benchmark, "", "The benchmark: `module:function` or `/a.py:function`.", "VESPA_BENCHMARK", short="b"
    )
    backend: tuple[BaseURL, ...] = option(
        BaseURL.parse,
        "",
        "The URL of the backend; several are measured in turn.",
        "VESPA_BACKEND_URL",
        unit="url",
        many=True,
    )
    save: bool = option(None, "", "Keep the result in VESPA_BENCHMARK_CACHE_FILE, so that the worker measures no more.")
    json: bool = option(None, "", "Print JSON.")
    quiet: bool = option(None, "", "Show no progress.")


@frozen(kw_only=True)
class BenchmarkReading:
    """The result of `read`: the options, and the settings of the worker that would run this benchmark."""

    settings: BenchmarkSettings
    worker: WorkerSettings
    secrets: tuple[str, ...] = field(repr=False)
    warnings: tuple[str, ...]


def read(given: Given, environ: Mapping[str, str]) -> BenchmarkReading:
    """Read the command line and the worker's variables. Raises SettingsError, which names every mistake."""
    reading = Reading(BenchmarkSettings, environ, given)
    values = reading.values
    reading.need("benchmark", "name the benchmark with it or with --benchmark")
    reading.need("backend", "name the backend with it or with --backend")
    free = {
        **environ,
        "VESPA_BENCHMARK": values["benchmark"],
        "VESPA_BACKEND_URL": " ".join(backend.url for backend in values["backend"]) or "http://localhost",
        # What only a worker of an endpoint needs is not needed here.
        "VESPA_UNSECURED": "true",
        "VESPA_USE_SSL": "false",
        "VESPA_LISTEN": "",
    }
    worker = worker_reading.read(free)
    problems = [*given.problems, *reading.problems.values(), *(worker.error.problems if worker.error else ())]
    if problems:
        raise SettingsError(problems, worker.warnings)
    return BenchmarkReading(
        settings=reading.settings(), worker=worker.settings, secrets=worker.secrets, warnings=worker.warnings
    )
