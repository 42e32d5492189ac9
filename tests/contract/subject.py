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

Another implementation can be put in its place: VESPA_CONTRACT_SUBJECT names a module with such a `start`.
"""

from __future__ import annotations

import atexit
import importlib
import importlib.util
import os
import socket
import subprocess
import sys
from collections.abc import Awaitable
from typing import TYPE_CHECKING

from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import ConnectError
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater

if TYPE_CHECKING:
    from twisted.trial.unittest import TestCase

OTHER = os.environ.get("VESPA_CONTRACT_SUBJECT", "")
STARTED: dict[tuple[object, ...], int] = {}


def missing() -> str | None:
    """Why there is nothing to test; None when there is."""
    try:
        found = importlib.util.find_spec(OTHER or "vespa.http.channel")
    except ModuleNotFoundError:
        found = None
    return None if found else "there is no engine yet"


def start(test: TestCase, backend_port: int, **limits: int) -> Awaitable[int]:
    """Start a subject; see the module's text."""
    if OTHER:
        started: Awaitable[int] = importlib.import_module(OTHER).start(test, backend_port, **limits)
        return started
    return start_process(backend_port, limits)


async def start_process(backend_port: int, limits: dict[str, int]) -> int:
    """Run `twistd vespa` before this backend, or use the one that runs already; it ends with the tests."""
    key = (backend_port, *sorted(limits.items()))
    if key in STARTED:
        return STARTED[key]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
    environment = {
        **os.environ,
        **{f"VESPA_{name.upper()}": str(value) for name, value in limits.items()},
        "VESPA_UNSECURED": "true",
        "VESPA_BACKEND_URL": f"http://127.0.0.1:{backend_port}",
        "VESPA_WORKER_PORT": str(port),
        "VESPA_HEALTHCHECK_ENDPOINT": "",
    }
    command = [sys.executable, "-m", "twisted", "--log-level=warn", "vespa"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    atexit.register(process.kill)
    for _ in range(200):
        try:
            probe = await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", port), Protocol())
        except ConnectError:
            if process.poll() is not None:
                break
            await deferLater(reactor, 0.05, lambda: None)
        else:
            probe.transport.abortConnection()
            STARTED[key] = port
            return port
    raise RuntimeError(f"twistd vespa did not start: exit status {process.poll()}")
