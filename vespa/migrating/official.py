"""Lets the installed package `vastai` record in place of serving, in the process of a worker's file."""

from __future__ import annotations

import functools
import importlib
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NoReturn

from vespa.migrating.recorder import Recorder


def install(recorder: Recorder) -> str:
    """Patch the package, and return its release. Raises ImportError if it is not there, or has no worker."""
    try:
        server = importlib.import_module("vastai.serverless.server.worker")
        backend = importlib.import_module("vastai.serverless.server.lib.backend")
        start = importlib.import_module("vastai.serverless.server.lib.server")
        _patch(server, backend, start, recorder)
    except ImportError:
        raise
    except Exception as error:  # whatever a broken or strange installation raises
        raise ImportError(f"{type(error).__name__}: {error}") from error
    try:
        return version("vastai")
    except PackageNotFoundError:  # a checkout on the path
        return "of unknown release"


def _patch(server: Any, backend: Any, start: Any, recorder: Recorder) -> None:
    made = server.WorkerConfig.__init__

    @functools.wraps(made)
    def init_config(self: Any, *values: Any, **fields: Any) -> None:
        made(self, *values, **fields)
        recorder.configs.append(self)

    def init_worker(self: Any, config: Any) -> None:
        recorder.workers.append(config)

    def run(self: Any, **options: Any) -> NoReturn:
        recorder.run(options)

    async def run_async(self: Any, **options: Any) -> NoReturn:
        recorder.run(options)

    server.WorkerConfig.__init__ = init_config
    server.Worker.__init__ = init_worker
    server.Worker.run = run
    server.Worker.run_async = run_async
    _patch_backend(backend, start, recorder)


def _patch_backend(backend: Any, start: Any, recorder: Recorder) -> None:
    """For files that make a Backend of their own."""
    create = backend.Backend.create_handler

    @functools.wraps(create)
    def create_handler(self: Any, handler: Any) -> Any:
        function = create(self, handler)
        function.endpoint_handler = handler
        return function

    def start_server(made: Any, routes: Any, **options: Any) -> NoReturn:
        made.fields = {**vars(made), "routes": list(routes)}
        recorder.workers.append(made)
        recorder.run(options)

    async def start_server_async(made: Any, routes: Any, **options: Any) -> NoReturn:
        start_server(made, routes, **options)

    backend.Backend.create_handler = create_handler
    start.start_server = start_server
    start.start_server_async = start_server_async
