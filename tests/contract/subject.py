"""
Starts what the contract suites test: an unsecured worker before a scripted backend.

What a subject owes:

- `await start(test, backend_port, **limits)` gives a port of 127.0.0.1 that speaks plain HTTP/1.1 and stands for `/` of
  `http://127.0.0.1:<backend_port>`. It accepts connections when it returns.
- It takes every request without a signature, is ready from the start, runs no probe and no benchmark, and reports to
  nobody: the backend sees nothing but what clients send. Any number of requests may be in flight at once.
- `limits` are settings by their environment names in lower case without `VESPA_` (`head_limit=1000`). All others have
  their defaults.
- What it started is over when the test's cleanups have run: no listening port, no connection, no delayed call.
- It may be started before the backend accepts connections, and several may run at once.

Another implementation, or another way to run this one, can be put in its place: VESPA_CONTRACT_SUBJECT names a module
with such a `start`.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Awaitable
from typing import TYPE_CHECKING

from twisted.application.service import IServiceCollection
from twisted.internet import reactor
from twisted.internet.defer import Deferred, maybeDeferred

from .waiting import turns

if TYPE_CHECKING:
    from twisted.trial.unittest import TestCase

OTHER = os.environ.get("VESPA_CONTRACT_SUBJECT", "")


def missing() -> str | None:
    """Why there is nothing to test; None when there is."""
    try:
        found = importlib.util.find_spec(OTHER or "vespa.http.server_connection")
    except ModuleNotFoundError:
        found = None
    return None if found else "there is no engine yet"


def start(test: TestCase, backend_port: int, **limits: int) -> Awaitable[int]:
    """Start a subject; see the module's text."""
    if OTHER:
        started: Awaitable[int] = importlib.import_module(OTHER).start(test, backend_port, **limits)
        return started
    return start_worker(test, backend_port, limits)


async def start_worker(test: TestCase, backend_port: int, limits: dict[str, int]) -> int:
    """The worker's own service tree, in this process."""
    from attrs import evolve

    from vespa.config.worker_reading import load
    from vespa.proxy.listener import Listener
    from vespa.worker.service import make_worker

    environment = {
        **{f"VESPA_{name.upper()}": str(value) for name, value in limits.items()},
        "VESPA_UNSECURED": "true",
        "VESPA_UNSECURED_PUBLIC": "true",  # the suites ask by any name
        "VESPA_BACKEND_URL": f"http://127.0.0.1:{backend_port}",
        "VESPA_LISTEN": "tcp:0:interface=127.0.0.1",
        "VESPA_DRAIN_TIMEOUT": "0.1",
        "VESPA_LOG_LEVEL": "ERROR",
    }
    tree = make_worker(reactor, evolve(load(environment), healthcheck_endpoint=""), {})
    worker = IServiceCollection(tree)
    tree.startService()

    async def stop() -> None:
        await maybeDeferred(tree.stopService)
        await turns(4)

    test.addCleanup(lambda: Deferred.fromCoroutine(stop()))
    (listener,) = [each for each in worker if isinstance(each, Listener)]
    assert listener.port is not None
    return listener.port
