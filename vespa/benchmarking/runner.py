"""Runs a benchmark in a process of its own with a time limit, so that it can neither block nor crash the worker."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from attrs import frozen
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorProcess, IReactorTime

from vespa.benchmarking.contract import Figure, Level
from vespa.benchmarking.process import HAS_GROUPS, BenchmarkError, BenchmarkProcess
from vespa.runtime.secret import secret_forms

_SECRETS = frozenset(
    "MASTER_TOKEN VAST_API_KEY VAST_ACCOUNT_KEY CONTAINER_API_KEY OPEN_BUTTON_TOKEN JUPYTER_TOKEN "
    "VESPA_BACKEND_AUTHORIZATION VESPA_ADMIN_TOKEN".split()
)
_ABOUT_THE_WORKER = frozenset("NOTIFY_SOCKET WATCHDOG_USEC WATCHDOG_PID".split())  # only it may speak for the service
_SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "isolated.py")
_COMMAND = [sys.executable, _SCRIPT] if HAS_GROUPS else [sys.executable, _SCRIPT, "1"]
_DESCRIPTORS: dict[str, Any] = {"childFDs": {0: "w", 1: "r", 2: "r", 3: "r"}} if HAS_GROUPS else {}


class TookTooLong(BenchmarkError):
    """The process gave no answer within the time limit."""


@frozen
class Runner:
    """Runs benchmarks, each in a process of its own.

    Both methods give each line that the benchmark prints to `on_progress`, and take `timeout` in seconds. They return
    once the process is gone, and raise BenchmarkError in words for a log, TookTooLong at the timeout, or, cancelled,
    CancelledError once the process is killed and reaped.
    """

    spawner: IReactorProcess
    clock: IReactorTime
    environment: Mapping[str, str]
    """The environment of the benchmark, which gets it without the platform's secrets."""

    async def run(
        self,
        spec: str,
        backend_url: str,
        *,
        timeout: float,
        on_progress: Callable[[str], None],
        ca_file: str = "",
        authorization: str = "",
        on_level: Callable[[Level], None] = lambda level: None,
        on_share: Callable[[float], None] = lambda share: None,
    ) -> Figure:
        """Measure the backend by the benchmark `spec`, `module:function` or `path/of/file.py:function`.

        Returns units of work per second. `ca_file` names a PEM file of roots for https; "": the system's roots.
        `authorization` is the value of that header in the session's requests to the backend; "": none. It is sent
        through the child's standard input, because other users can see the arguments of a process.
        `on_level` is called with each level that the benchmark reports, `on_share` with the share of its time, 0 to 1.
        """
        order = {"spec": spec, "backend_url": backend_url, "ca_file": ca_file, "authorization": authorization}
        answer = await self._perform({**order, "check": False}, timeout, on_progress, on_level, on_share)
        try:
            return Figure.checked(answer.get("result"), answer.get("concurrency"))
        except ValueError as error:
            raise BenchmarkError(f"its result is wrong: {error}") from None

    async def check(self, spec: str, *, timeout: float, on_progress: Callable[[str], None]) -> None:
        """Import the benchmark `spec` as `run` does, but do not call it.

        Raises BenchmarkError if it cannot be imported or is not a coroutine function.
        """
        await self._perform({"spec": spec, "check": True}, timeout, on_progress)

    async def _perform(
        self, order: Mapping[str, Any], timeout: float, on_progress: Callable[[str], None], *reports: Any
    ) -> Mapping[str, Any]:
        """Start a process, give it the order, and return its answer once it has ended."""
        secrets = secret_forms(order.get("authorization", ""))
        child = BenchmarkProcess(json.dumps(order).encode() + b"\n", self.clock, on_progress, secrets, *reports)
        environment = child_environment(self.environment)
        try:
            self.spawner.spawnProcess(child, _COMMAND[0], _COMMAND, env=environment, **_DESCRIPTORS)
        except OSError as error:
            raise BenchmarkError(f"its process cannot be started: {error}") from error
        deadline = self.clock.callLater(timeout, child.stop, TookTooLong(f"it took longer than {timeout:g} s"))
        cancelled = False
        while not child.gone:
            try:
                await child.end()
            except CancelledError:
                # The first time the process gets SIGTERM and may clean up; the second time there is no time for that.
                child.kill() if cancelled else child.stop()
                cancelled = True
        if deadline.active():
            deadline.cancel()
        if cancelled:
            raise CancelledError
        return child.answer()


def child_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """`environment` without the account's keys, and without the current folder in PYTHONPATH."""
    kept = {name: value for name, value in environment.items() if name not in _SECRETS | _ABOUT_THE_WORKER}
    # An empty entry is the current folder. isolated.py adds Vespa's own folder.
    paths = [each for each in kept.pop("PYTHONPATH", "").split(os.pathsep) if each]
    return {**kept, "PYTHONPATH": os.pathsep.join(paths)} if paths else kept
