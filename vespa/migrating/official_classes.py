"""The classes of the official package `vastai` that a worker's file uses: names, fields and defaults of release 1.9.1.

Only what a file sets or overrides is here. The stand-in gives them to the file in place of the package's.
"""

from __future__ import annotations

import dataclasses
from abc import ABC
from collections.abc import Callable
from enum import Enum
from typing import Any, Final, Generic, TypeVar

DEFAULT_WORKLOAD: Final = 100.0
Payload = TypeVar("Payload")


class LogAction(Enum):
    ModelLoaded = 1
    ModelError = 2
    Info = 3


@dataclasses.dataclass
class LogActionConfig:
    on_load: list[str] = dataclasses.field(default_factory=list)
    on_error: list[str] = dataclasses.field(default_factory=list)
    on_info: list[str] = dataclasses.field(default_factory=list)

    @property
    def log_actions(self) -> list[tuple[LogAction, str]]:
        actions = zip(LogAction, (self.on_load, self.on_error, self.on_info), strict=True)
        return [(action, pattern) for action, patterns in actions for pattern in patterns]


@dataclasses.dataclass
class BenchmarkConfig:
    dataset: list[dict[str, Any]] | None = None
    generator: Callable[[], dict[str, Any]] | None = None
    runs: int = 8
    concurrency: int | None = 10
    do_warmup: bool = True


@dataclasses.dataclass
class HandlerConfig:
    route: str
    healthcheck: str | None = None
    allow_parallel_requests: bool = False
    max_queue_time: float | None = 30.0
    benchmark_config: BenchmarkConfig | None = None
    handler_class: Any = None
    payload_class: Any = None
    request_parser: Any = None
    response_generator: Any = None
    workload_calculator: Any = None
    is_remote_dispatch: bool = False
    remote_function: Any = None


@dataclasses.dataclass
class WorkerConfig:
    model_server_url: Any = None
    model_server_port: Any = None
    model_log_file: Any = None
    benchmark_data: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    handlers: list[HandlerConfig] = dataclasses.field(default_factory=list)
    model_healthcheck_url: Any = None
    benchmark_route: str | None = None
    log_action_config: LogActionConfig = dataclasses.field(default_factory=LogActionConfig)
    max_sessions: int | None = 10
    lifecycle: Any = None


class JsonDataException(Exception):
    def __init__(self, json_msg: dict[str, Any]) -> None:
        self.message = json_msg


@dataclasses.dataclass
class AuthData:
    cost: str
    endpoint: str
    reqnum: int
    request_idx: int
    signature: str
    url: str


@dataclasses.dataclass
class ApiPayload(ABC):  # noqa: B024  # files derive from it, and use it as they would the official class
    def generate_payload_multipart(self) -> dict[str, Any] | None:
        return None


@dataclasses.dataclass
class EndpointHandler(ABC, Generic[Payload]):
    has_benchmark: bool = True
    concurrency: int = 10
    benchmark_runs: int = 8
    allow_parallel_requests: bool = False
    max_queue_time: Any = None
    remote_function: Any = None
    do_warmup_benchmark: bool = True


@dataclasses.dataclass
class OldEndpointHandler(EndpointHandler[Payload]):
    """The class of PyWorkers from before the package."""

    benchmark_words: int = 100
