"""The readiness monitor, made from the settings."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any, Final

from twisted.logger import Logger

from vespa.benchmarking.cache import BenchmarkCache
from vespa.benchmarking.contract import Figure
from vespa.benchmarking.key import cache_key
from vespa.benchmarking.runner import Runner, TookTooLong
from vespa.config.worker import WorkerSettings
from vespa.worker.access import BackendAccess
from vespa.worker.readiness.health_probe import ProbeConfig
from vespa.worker.readiness.monitor import ReadinessMonitor

_BENCHMARK_CHECK_SECONDS: Final = 30.0  # a module that imports PyTorch takes ten


def readiness_monitor(
    reactor: Any,
    settings: WorkerSettings,
    environment: Mapping[str, str],
    on_ready: Callable[[float | None], None],
    backend: BackendAccess,
    name: str = "",
) -> ReadinessMonitor:
    """
    The monitor of `backend`, with its benchmark and the file of its figure. `name` tells it from others.

    `environment` is for the benchmark. `on_ready` is called once, at the first ready, with the throughput or None.
    """
    log = Logger(namespace="vespa.benchmark")
    runner = Runner(reactor, reactor, environment)

    def progress(line: str) -> None:
        log.info("{line}", line=f"{name}: {line}" if name else line)
        monitor.history.progress.append(line)

    async def run_benchmark() -> float:
        figure = await runner.run(
            settings.benchmark,
            backend.origin.url,
            timeout=settings.benchmark_timeout,
            on_progress=progress,
            ca_file=settings.backend_ca_file,
            authorization=settings.backend_authorization,
        )
        return Figure(figure, figure.concurrency, await backend.served())

    async def check_benchmark() -> None:
        try:
            await runner.check(
                settings.benchmark,
                timeout=min(_BENCHMARK_CHECK_SECONDS, settings.benchmark_timeout),
                on_progress=lambda line: log.debug("{line}", line=line),
            )
        except TookTooLong:
            log.warn("the benchmark's import takes long: whether it can be used is found out when it is run")

    key = cache_key(settings.benchmark, backend.origin.url, environment)
    monitor = ReadinessMonitor(
        reactor,
        probe=backend.probe,
        run_benchmark=run_benchmark if settings.benchmark else None,
        check_benchmark=check_benchmark if settings.benchmark else None,
        served=backend.served,
        cache=BenchmarkCache(settings.benchmark_cache_file, key, [each.url for each in settings.backend_urls]),
        secured=settings.secured,
        on_ready=on_ready,
        random=random.random,
        probe_config=ProbeConfig(
            retry_interval=settings.healthcheck_retry_interval,
            poll_interval=settings.healthcheck_poll_interval,
            consecutive_failures=settings.healthcheck_consecutive_failures,
            initial_timeout=settings.ready_timeout_initial,
            resume_timeout=settings.ready_timeout_resume,
        ),
    )
    return monitor
