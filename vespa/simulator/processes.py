"""A whole service on this machine: simulated autoscaler, small backend, real workers, real clients."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.task import deferLater

from vespa.simulator import launch
from vespa.simulator.autoscaler import SimulatedAutoscaler
from vespa.simulator.backend import SimulatedBackend
from vespa.simulator.child import BackendChild, Child, ClientChild, WorkerChild
from vespa.simulator.serving import Served, Upgrades, serve

POLL_SECONDS = 0.05
FIRST_ID = 7
HOST = "127.0.0.1"
MASTER_TOKEN = "master-token"


class NotReady(Exception):
    """A process ended, or took too long."""


class Deployment:
    """Starts the parts, and stops those that it started.

    `folder` is for the files of workers and clients, and their environment is made from `environment`. With `own_group`
    they belong to process groups of their own, so that a Ctrl-C does not stop them first.
    """

    def __init__(
        self,
        reactor: Any,
        folder: str,
        environment: Mapping[str, str],
        autoscaler: SimulatedAutoscaler,
        backend: SimulatedBackend,
        *,
        own_group: bool = False,
    ) -> None:
        self.autoscaler = autoscaler
        self.backend = backend
        self.workers: list[WorkerChild] = []
        self.clients: list[ClientChild] = []
        self.autoscaler_url = ""
        self.backend_url = ""
        self.folder = folder
        self._reactor = reactor
        self._environment = environment
        self._own_group = own_group
        self._served: list[Served] = []

    async def start_autoscaler(self, port: int = 0) -> None:
        """Serve the autoscaler on loopback. Fails with CannotListenError if the port is taken."""
        self.autoscaler_url = await self._serve(self.autoscaler.resource(), port)

    async def start_backend(self, port: int = 0) -> None:
        """Serve the backend on loopback. Fails with CannotListenError if the port is taken."""
        self.backend_url = await self._serve(self.backend.resource(), port, self.backend.upgrades)

    def run_backend(self, port: int, rate: float) -> BackendChild:
        """Start the small backend as a process of its own, at a port or any free one. It is the caller's to end."""
        command = launch.backend_command(port, rate, own_group=self._own_group)
        environment = launch.clean_environment(self._environment)
        return BackendChild.start(self._reactor, command, environment, folder=self.folder)

    async def _serve(self, resource: Any, port: int, upgrades: Upgrades | None = None) -> str:
        served = await serve(resource, TCP4ServerEndpoint(self._reactor, port, interface=HOST), upgrades)
        self._served.append(served)
        return served.url

    def run_worker(self, port: int, settings: Mapping[str, str]) -> WorkerChild:
        """Start `twistd vespa` before the backend; `settings` are further variables of its environment.

        Each has an id of its own.
        """
        environment = {
            **launch.clean_environment(self._environment),
            **launch.worker_environment(
                port=port,
                backend_url=self.backend_url,
                report_addr=self.autoscaler_url,
                cache_file=os.path.join(self.folder, "benchmark"),
                container_id=FIRST_ID + len(self.workers),
                master_token=MASTER_TOKEN,
            ),
            **settings,
        }
        command = launch.worker_command(own_group=self._own_group)
        worker = WorkerChild.start(self._reactor, command, environment, folder=self.folder)
        scheme = "https" if environment.get("VESPA_USE_SSL") == "true" else "http"
        worker.id, worker.port, worker.url = int(environment["CONTAINER_ID"]), port, f"{scheme}://{HOST}:{port}"
        self.workers.append(worker)
        return worker

    async def run_client(
        self, arguments: Sequence[str], settings: Mapping[str, str], seconds: float = 30.0
    ) -> ClientChild:
        """Start `vespa-proxy client` for the endpoint, and return it when it listens. Raises NotReady.

        `settings` are further variables of its environment: a key, and a port unless it should take any free one.
        """
        environment = {
            **launch.clean_environment(self._environment),
            # So that it reads no keys of the user's, and calls nothing outside.
            "HOME": self.folder,
            "XDG_CONFIG_HOME": self.folder,
            "USERPROFILE": self.folder,
            "APPDATA": self.folder,
            "VAST_AUTOSCALER_URL": self.autoscaler_url,
            "VAST_CONSOLE_URL": self.autoscaler_url,
            "VAST_ENDPOINT": self.autoscaler.endpoint,
            "VESPA_CLIENT_PORT": "0",
            **settings,
        }
        command = launch.client_command(*arguments, own_group=self._own_group)
        client = ClientChild.start(self._reactor, command, environment, folder=self.folder)
        self.clients.append(client)
        await self.until(lambda: client.url, seconds, "listening", [client])
        return client

    async def until(
        self, condition: Callable[[], object], seconds: float, what: str, children: Sequence[Child] = ()
    ) -> None:
        """Return when the condition holds.

        Raises NotReady if all of `children`, or all workers without them, have ended, or after `seconds`.
        """
        children = children or self.workers
        deadline = self._reactor.seconds() + seconds
        while not condition():
            ended = [child for child in children if child.exit_code is not None]
            if ended and len(ended) == len(children):
                kind = "client" if isinstance(ended[-1], ClientChild) else "worker"
                said = f": {ended[-1].lines[-1]}" if ended[-1].lines else ""
                raise NotReady(f"the {kind} ended with exit code {ended[-1].exit_code} before {what}{said}")
            if self._reactor.seconds() > deadline:
                raise NotReady(f"not {what} within {seconds:g} seconds")
            await deferLater(self._reactor, POLL_SECONDS)

    async def until_ready(self, seconds: float = 60.0) -> None:
        """Return when the autoscaler considers every running worker ready.

        Raises NotReady, also if one reports an error or ends.
        """
        totals = self.autoscaler.totals
        running = [worker for worker in self.workers if worker.exit_code is None]

        def ready() -> bool:
            now = self._reactor.seconds()
            found = [totals.workers.get(worker.id) for worker in running]
            for worker, reported in zip(running, found, strict=True):
                if reported is not None and reported.error_msg:
                    raise NotReady(f"the worker reports: {reported.error_msg}")
                if worker.exit_code is not None:
                    raise NotReady(f"the worker ended with exit code {worker.exit_code} before ready")
            return all(each is not None and each.ready(now, totals.stale_after) for each in found)

        await self.until(ready, seconds, "ready")

    async def stop(self) -> int | None:
        """Stop the clients, then the workers, so that they can send their last reports, then the rest.

        Returns their first exit code that is not 0, None if there was no process.
        """
        codes: list[int] = []
        for children in (self.clients, self.workers):
            codes += await gatherResults([Deferred.fromCoroutine(child.end(self._reactor)) for child in children])
        while self._served:
            await self._served.pop().stop()
        return next((code for code in codes if code), 0 if codes else None)
