"""The parts of a whole service on this machine: simulated autoscaler, small backend, and a real worker."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.task import deferLater

from vespa.sim.autoscaler import Autoscaler, Report
from vespa.sim.backend import Backend
from vespa.sim.child import Child
from vespa.sim.launch import clean_environment, free_port, worker_command, worker_environment
from vespa.sim.serving import Served, serve

POLL_SECONDS = 0.05


class NotReady(Exception):
    """The worker ended, or took too long."""


class Stage:
    """Starts the parts, and ends those that were started.

    `folder` is where the worker keeps its files; `environment` is what its own is made from. The worker belongs to a
    process group of its own when `own_group`, so that a Ctrl-C meant for us does not end it first.
    """

    def __init__(
        self,
        reactor: Any,
        folder: str,
        environment: Mapping[str, str],
        *,
        own_group: bool = False,
        on_report: Callable[[Report], None] = lambda report: None,
        on_line: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.autoscaler = Autoscaler(reactor, master_token="master-token", on_report=on_report)
        self.backend = Backend(reactor)
        self.worker: Child | None = None
        self.worker_url = ""
        self.autoscaler_url = ""
        self.backend_url = ""
        self._reactor = reactor
        self._folder = folder
        self._environment = environment
        self._own_group = own_group
        self._on_line = on_line
        self._served: list[Served] = []

    async def start_autoscaler(self, port: int = 0) -> None:
        """Serve the autoscaler on loopback. Fails with CannotListenError where the port is taken."""
        self.autoscaler_url = await self._serve(self.autoscaler.resource(), port)

    async def start_backend(self, port: int = 0) -> None:
        """Serve the backend on loopback. Fails with CannotListenError where the port is taken."""
        self.backend_url = await self._serve(self.backend.resource(), port)

    async def _serve(self, resource: Any, port: int) -> str:
        endpoint = TCP4ServerEndpoint(self._reactor, port, interface="127.0.0.1")
        served = await serve(resource, endpoint)
        self._served.append(served)
        return served.url

    def start_worker(self, port: int = 0, **settings: str) -> Child:
        """Start `twistd vespa` before the backend; `settings` are further variables of its environment."""
        port = port or free_port()
        environment = {
            **clean_environment(self._environment),
            **worker_environment(
                port=port,
                backend_url=self.backend_url,
                report_addr=self.autoscaler_url,
                cache_file=os.path.join(self._folder, "benchmark"),
            ),
            **settings,
        }
        scheme = "https" if environment.get("VESPA_USE_SSL") == "true" else "http"
        self.worker_url = f"{scheme}://127.0.0.1:{port}"
        command = worker_command(own_group=self._own_group)
        self.worker = Child.start(self._reactor, command, environment, folder=self._folder, on_line=self._on_line)
        return self.worker

    async def until(self, condition: Callable[[], object], seconds: float, what: str) -> None:
        """Return when the condition holds. Raises NotReady when the worker ends first, or the time runs out."""
        deadline = self._reactor.seconds() + seconds
        while not condition():
            if self.worker is not None and self.worker.exit_code is not None:
                raise NotReady(f"the worker ended with exit code {self.worker.exit_code} before {what}")
            if self._reactor.seconds() > deadline:
                raise NotReady(f"after {seconds:g} seconds still not {what}")
            await deferLater(self._reactor, POLL_SECONDS)

    async def until_ready(self, seconds: float = 60.0) -> None:
        """Return when the autoscaler holds a worker for ready. Raises NotReady, also when one reports an error."""
        books = self.autoscaler.books

        def ready() -> bool:
            for book in books.workers.values():
                if book.error_msg:
                    raise NotReady(f"the worker reports: {book.error_msg}")
            return books.least_loaded(self._reactor.seconds()) is not None

        await self.until(ready, seconds, "ready")

    async def stop(self) -> int | None:
        """End the worker first, so that it can tell its last, then the rest; return the worker's exit code."""
        code = None if self.worker is None else await self.worker.end(self._reactor)
        while self._served:
            await self._served.pop().stop()
        return code
