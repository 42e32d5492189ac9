"""A whole service on this machine as tests want it: several workers, with TLS, killed; clients with any option."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from tests.contract.waiting import turns
from tests.simulator_support.autoscaler import ControlledAutoscaler
from tests.simulator_support.backend import ControlledBackend
from vespa.simulator.autoscaler import Report
from vespa.simulator.child import ClientChild, WorkerChild
from vespa.simulator.launch import free_port
from vespa.simulator.processes import HOST, MASTER_TOKEN, Deployment

SECRETS: Final = {"api_key": "VAST_API_KEY", "account_key": "VAST_ACCOUNT_KEY", "token": "VESPA_CLIENT_TOKEN"}
"""What a client is never given as an argument, which every user of a machine can read, and the variable instead."""


def client_arguments(options: Mapping[str, object]) -> list[str]:
    """A client's command line: `max_connections=5` is `--max-connections=5`.

    True is a switch, and a list an option for each. Raises ValueError for one that has no business there.
    """
    arguments: list[str] = []
    for name, value in options.items():
        if name in SECRETS:
            raise ValueError(f"{name} would be seen by every user of this machine")
        flag = "--" + name.replace("_", "-")
        if isinstance(value, bool):
            arguments += [flag] * value
        elif isinstance(value, Sequence) and not isinstance(value, str):
            arguments += [f"{flag}={each}" for each in value]
        else:
            arguments.append(f"{flag}={value}")
    return arguments


class ControlledDeployment(Deployment):
    """Starts and ends the parts. A worker that is silent for `stale_after` seconds is given no more requests."""

    autoscaler: ControlledAutoscaler
    backend: ControlledBackend

    def __init__(
        self,
        reactor: Any,
        folder: str,
        environment: Mapping[str, str],
        *,
        stale_after: float = 30.0,
        on_report: Callable[[Report], None] = lambda report: None,
    ) -> None:
        autoscaler = ControlledAutoscaler(
            reactor, master_token=MASTER_TOKEN, stale_after=stale_after, on_report=on_report
        )
        super().__init__(reactor, folder, environment, autoscaler, ControlledBackend(reactor))

    @property
    def worker(self) -> WorkerChild | None:
        """The worker that was started last."""
        return self.workers[-1] if self.workers else None

    def start_worker(self, port: int = 0, *, tls: bool = False, **settings: str) -> WorkerChild:
        """Start a worker; `settings` are variables of its environment. With `tls` the authority signed for it."""
        port = port or free_port()
        return self.run_worker(port, {**(self._certificate(port) if tls else {}), **settings})

    def _certificate(self, port: int) -> dict[str, str]:
        paths = [os.path.join(self.folder, f"{port}.{kind}") for kind in ("key", "crt")]
        for path, pem in zip(paths, self.autoscaler.authority.issue(HOST), strict=True):
            with open(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "wb") as file:
                file.write(pem)
        return {"VESPA_USE_SSL": "true", "VESPA_SSL_KEY_FILE": paths[0], "VESPA_SSL_CERT_FILE": paths[1]}

    async def start_client(
        self, *, settings: Mapping[str, str] | None = None, seconds: float = 30.0, **options: Any
    ) -> ClientChild:
        """Start a client, and return it when it listens, at any free port. Raises NotReady.

        `options` are its command line's; keys and the token go into its environment, into which `settings` go as well.
        It has the endpoint's key unless an `account_key` is given or `api_key` is "".
        """
        secrets = {name: options.pop(name) for name in SECRETS if name in options}
        if "account_key" not in secrets:
            secrets.setdefault("api_key", self.autoscaler.endpoint_key)
        keys = {SECRETS[name]: value for name, value in secrets.items() if value}
        return await self.run_client(client_arguments(options), {**keys, **(settings or {})}, seconds)

    async def kill(self, worker: WorkerChild, *, noticed: bool = False) -> None:
        """Kill a worker, without a word to anybody; the autoscaler gives it requests on, unless that is `noticed`."""
        worker.signal("KILL")
        await worker.exited()
        if noticed:
            await turns(10)  # what it had sent is taken first
            self.autoscaler.totals.of(worker.id).gone = True
