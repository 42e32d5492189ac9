"""The end-to-end Python: the interpreter that has the clients and llama.cpp, which may be another than our own.

Vast's client pins versions of packages that Vespa shares with it, so `.venv-e2e` is a virtual environment of its own;
VESPA_E2E_PYTHON names another interpreter.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from twisted.internet import reactor
from twisted.trial.unittest import SkipTest

from tests.e2e.llama_server import SHARED
from tests.processes import ProcessCase
from tests.simulator_support.deployment import ControlledDeployment
from vespa.simulator.child import Child, WorkerChild
from vespa.simulator.launch import ROOT

FOLDER = os.path.dirname(os.path.abspath(__file__))
BENCHMARK = os.path.join(FOLDER, "benchmark.py") + ":benchmark"
CLIENT_SECONDS = 60.0


def e2e_python() -> str:
    """The interpreter to run clients with."""
    own = os.path.join(ROOT, ".venv-e2e", "bin", "python")
    return os.environ.get("VESPA_E2E_PYTHON") or (own if os.path.exists(own) else sys.executable)


@functools.cache
def missing(module: str, python: str) -> bool:
    """Whether an interpreter lacks a module."""
    code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is None)"
    return subprocess.run([python, "-c", code], check=False, capture_output=True).returncode != 0


def need(*modules: str, python: str = "") -> None:
    """Raise SkipTest, saying how to get them, where a module is missing; in the end-to-end Python unless another is."""
    python = python or e2e_python()
    lacking = [module for module in modules if missing(module, python)]
    if lacking:
        raise SkipTest(f"missing: {python} -m pip install {' '.join(lacking)}")


class ServiceCase(ProcessCase):
    """A test against a whole service: simulated autoscaler, worker, and a backend of its choice."""

    async def start_llama(self) -> str:
        """The URL of llama.cpp, which is started unless it serves already."""
        need("xllamacpp")
        return await SHARED.url(e2e_python())

    async def start_service(
        self, backend_url: str | None = None, *, tls: bool = False, **settings: str
    ) -> ControlledDeployment:
        """Start a deployment, before the simulator's backend unless another is given, and wait until it is ready."""
        deployment = self.deployment()
        await deployment.start_autoscaler()
        await deployment.start_backend()
        if backend_url is not None:
            deployment.backend_url = backend_url
        else:
            deployment.backend.tokens_per_second = 500.0
        await self.start_worker(deployment, tls=tls, **settings)
        return deployment

    async def start_worker(
        self, deployment: ControlledDeployment, *, tls: bool = False, **settings: str
    ) -> WorkerChild:
        """Start a deployment's worker and wait until it is ready."""
        (worker,) = await self.start_workers(deployment, 1, tls=tls, **settings)
        return worker

    async def start_workers(
        self, deployment: ControlledDeployment, count: int, *, tls: bool = False, **settings: str
    ) -> list[WorkerChild]:
        """Start so many workers and wait until all are ready."""
        options: dict[str, Any] = {"VESPA_BENCHMARK": BENCHMARK, **settings}
        workers = [deployment.start_worker(tls=tls, **options) for _ in range(count)]
        try:
            await deployment.until_ready()
        except Exception as error:
            logs = "\n".join(worker.text for worker in workers)
            raise AssertionError(f"{error}; their logs:\n{logs}") from error
        return workers

    def script(
        self,
        name: str,
        *arguments: str,
        stdin: bytes = b"",
        python: str = "",
        settings: Mapping[str, str] | None = None,
        folder: str | None = None,
    ) -> Child:
        """Start one of this folder's scripts in the end-to-end Python, or another."""
        command = [python or e2e_python(), os.path.join(FOLDER, name), *arguments]
        return self.start(command, settings, stdin=stdin, folder=folder)

    async def run_script(self, name: str, job: dict[str, Any]) -> list[dict[str, Any]]:
        """Give a script its job and return its results, one for each request of the job."""
        child = self.script(name, stdin=json.dumps(job).encode("utf-8"))
        code = await self.until_exit(child, CLIENT_SECONDS)
        self.assertEqual(code, 0, child.text)
        results: list[dict[str, Any]] = [json.loads(line) for line in child.lines if line.startswith("{")]
        self.assertEqual(len(results), len(job["requests"]), child.text)
        return results

    async def settled(
        self, deployment: ControlledDeployment, finished: int, among: frozenset[int] = frozenset()
    ) -> dict[str, Any]:
        """The totals of the one worker, once it reported so many deletes, those `among` them, and nothing in flight."""
        autoscaler = deployment.autoscaler
        (worker_totals,) = autoscaler.totals.workers.values()

        def totals() -> dict[str, Any]:
            found: dict[str, Any] = autoscaler.totals.as_json(reactor.seconds())[str(worker_totals.id)]
            return found

        def told() -> bool:
            return (
                sum(worker_totals.outcomes().values()) >= finished
                and worker_totals.in_flight == 0
                and not worker_totals.working_request_idxs
                and worker_totals.balance(autoscaler.totals.costs).adds_up
                and among <= {int(idx) for idx in totals()["deletes"]}
            )

        try:
            await deployment.until(told, 20.0, "settled")
        except Exception as error:
            worker = "" if deployment.worker is None else deployment.worker.text
            raise AssertionError(f"{error}: {autoscaler.ledger()}\n{worker}") from error
        self.assertEqual(autoscaler.malformed, [])
        return totals()
