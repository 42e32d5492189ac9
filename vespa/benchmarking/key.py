"""The facts known before the measurement on which a benchmark's result depends."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping

from attrs import frozen

from vespa.runtime.files import read_file

_SHOWN = frozenset(
    "MODEL_NAME BENCHMARK_RUNS BENCHMARK_CONCURRENCY BENCHMARK_MAX_TOKENS BENCHMARK_PROMPT_WORDS BENCHMARK_ROUTE "
    "BENCHMARK_COUNT BENCHMARK_SEED BENCHMARK_JSON_PATH BENCHMARK_TEST_WIDTH BENCHMARK_TEST_HEIGHT "
    "BENCHMARK_TEST_STEPS VESPA_COMFYUI_BENCHMARK_FILE VESPA_ALLOW_PARALLEL VESPA_MAX_CONCURRENCY "
    "VESPA_CONNECTION_LIMIT VESPA_CONNECTION_LIMIT_PER_HOST".split()
)
_WORKFLOWS = ("VESPA_COMFYUI_BENCHMARK_FILE", "BENCHMARK_JSON_PATH")
_PROVISIONED = "/opt/comfyui-api-wrapper/workflows/pyworker_benchmark.json"  # as benchmarks/comfyui.py has it
_LARGEST = 16 * 1024 * 1024  # bytes of a file that are looked at


@frozen
class CacheKey:
    """The facts on which a result depends. If one has changed, the benchmark runs again."""

    benchmark: str
    backend: str
    variables: Mapping[str, str]
    """The environment variables that a benchmark reads. Values of unknown ones, which may be secret, are digests."""
    files: Mapping[str, str]
    """Digests of the benchmark's file and workflow, by path."""


def cache_key(benchmark: str, backend_url: str, environment: Mapping[str, str]) -> CacheKey:
    """The key of a benchmark of this backend in this environment. An unreadable file is a part of the key as such."""
    variables = {}
    for name in sorted(environment):
        value = environment[name].strip()
        if value and (name in _SHOWN or name.startswith("BENCHMARK_")):
            variables[name] = value if name in _SHOWN else _digest(value.encode("utf-8", "surrogateescape"))
    place = benchmark.rpartition(":")[0]
    paths = [variables[name] for name in _WORKFLOWS if name in variables]
    if place == "benchmarks.comfyui" and not paths and os.path.exists(_PROVISIONED):
        paths.append(_PROVISIONED)
    if place.endswith(".py"):
        paths.append(place)
    return CacheKey(benchmark, backend_url, variables, {path: _digest_of_file(path) for path in paths})


def _digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def _digest_of_file(path: str) -> str:
    try:
        return _digest(read_file(path, _LARGEST))
    except (OSError, ValueError):
        return "unreadable"
