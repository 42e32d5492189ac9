"""Stands in for the official package `vastai` in the process of a worker's file: its classes record, and do no more.

Its modules are those of `vastai.serverless.server` that a worker's file imports. The `lib` of PyWorkers from before the
package is there too, for files that import it.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import os
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, NoReturn

from vespa.migrating.official_classes import (
    DEFAULT_WORKLOAD,
    ApiPayload,
    AuthData,
    BenchmarkConfig,
    EndpointHandler,
    HandlerConfig,
    JsonDataException,
    LogAction,
    LogActionConfig,
    OldEndpointHandler,
    WorkerConfig,
)
from vespa.migrating.recorder import Recorder
from vespa.migrating.words import WORDS


def install(recorder: Recorder, *, old: bool) -> None:
    """Put the stand-in's modules in the place of the package's. `old`: also those of PyWorkers from before it."""

    class Worker:
        """The official Worker: it is made of a WorkerConfig, and `run` serves until the process ends."""

        def __init__(self, config: Any) -> None:
            recorder.workers.append(config)

        def run(self, **options: Any) -> NoReturn:
            recorder.run(options)

        async def run_async(self, **options: Any) -> NoReturn:
            recorder.run(options)

    classes = (WorkerConfig, HandlerConfig, BenchmarkConfig, LogActionConfig)
    own = {each.__name__: _recording(each, recorder) for each in classes}
    server = {**own, "Worker": Worker, "DEFAULT_WORKLOAD": DEFAULT_WORKLOAD}
    values = {each.__name__: each for each in (ApiPayload, EndpointHandler, JsonDataException, AuthData, LogAction)}
    backend, start = _backend(recorder)
    library: dict[str, dict[str, Any]] = {
        "data_types": values,
        "backend": {"Backend": backend, **values},
        "server": {"start_server": start, "start_server_async": _asynchronous(start)},
    }
    _add("vastai", server)
    _add("vastai.serverless", {})
    _add("vastai.serverless.server", {})
    _add("vastai.serverless.server.worker", {**server, **values})
    _add("vastai.serverless.server.lib", {})
    for name, members in library.items():
        _add(f"vastai.serverless.server.lib.{name}", members)
    if old:
        _add("lib", {})
        for name, members in library.items():
            _add(f"lib.{name}", {**members, "EndpointHandler": OldEndpointHandler})
    install_words()


def install_words() -> None:
    """Stand in for nltk where it or its list of words is not there: PyWorkers make their prompts of it."""
    if "nltk" in sys.modules or (importlib.util.find_spec("nltk") is not None and _has_words()):
        return

    class Corpus:
        @staticmethod
        def words(*files: object) -> list[str]:
            return list(WORDS)

    _add("nltk", {"download": lambda *names, **options: True})
    _add("nltk.corpus", {"words": Corpus})


def _has_words() -> bool:
    """Whether nltk's list of words is in one of its folders, because it cannot be downloaded here."""
    below = [os.path.join(sys.prefix, *folders) for folders in ((), ("share",), ("lib",))]
    roots = [os.path.expanduser("~"), *below, "/usr/share", "/usr/local/share", "/usr/lib", "/usr/local/lib"]
    folders = [*os.environ.get("NLTK_DATA", "").split(os.pathsep), *(os.path.join(root, "nltk_data") for root in roots)]
    names = ("words", "words.zip")
    return any(os.path.exists(os.path.join(folder, "corpora", name)) for folder in folders if folder for name in names)


def _backend(recorder: Recorder) -> tuple[type, Callable[..., NoReturn]]:
    """The class Backend and the function start_server, from which files without a WorkerConfig make their worker."""

    class Backend:
        def __init__(self, *values: Any, **fields: Any) -> None:
            names = ("model_server_url", "model_log_file", "benchmark_handler", "log_actions")
            self.fields: dict[str, Any] = {**dict(zip(names, values, strict=False)), **fields}
            recorder.configs.append(self)

        def create_handler(self, handler: Any) -> Callable[..., Any]:
            async def handle(request: Any) -> None:
                raise RuntimeError("the stand-in of Vast's own worker answers no requests")

            handle.endpoint_handler = handler  # type: ignore[attr-defined]
            return handle

    def start_server(backend: Any, routes: Any, **options: Any) -> NoReturn:
        backend.fields["routes"] = list(routes)
        recorder.workers.append(backend)
        recorder.run(options)

    return Backend, start_server


def _asynchronous(function: Callable[..., NoReturn]) -> Callable[..., Any]:
    async def call(*values: Any, **options: Any) -> NoReturn:
        function(*values, **options)

    return call


def _recording(owner: Any, recorder: Recorder) -> type:
    """A subclass of a dataclass that records its objects if they are configurations, and names that are no fields.

    Later releases of the package may have more fields.
    """
    original: Callable[..., None] = vars(owner)["__init__"]
    known = {field.name for field in dataclasses.fields(owner)}

    @functools.wraps(original)  # inspect.signature then shows the official fields: files look them up
    def init(self: Any, *values: Any, **fields: Any) -> None:
        recorder.unknown += [f"{owner.__name__}.{name}" for name in fields if name not in known]
        original(self, *values, **{name: value for name, value in fields.items() if name in known})
        if owner is WorkerConfig:
            recorder.configs.append(self)

    return type(owner.__name__, (owner,), {"__init__": init, "__module__": "vastai.serverless.server.worker"})


class _StandIn(ModuleType):
    """A module of the stand-in. It is also a package, so that modules below it can be imported."""

    __path__: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        missing = f"{self.__name__}.{name}"

        class NotThere:
            """Can be imported, but not used."""

            def __init__(self, *values: Any, **fields: Any) -> None:
                raise NotImplementedError(
                    f"{missing} is not in the stand-in of the package vastai: run this where vastai is installed, or "
                    "name that Python with --python"
                )

        NotThere.__name__ = name
        return NotThere


def _add(name: str, members: dict[str, Any]) -> None:
    module = _StandIn(name)
    vars(module).update(members)
    sys.modules[name] = module
    parent, _, own = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], own, module)
