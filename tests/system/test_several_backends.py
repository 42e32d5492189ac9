"""A worker before several backends, each in a process of its own."""

from __future__ import annotations

import json
import os
import sys

from twisted.internet.defer import Deferred, gatherResults

from tests.processes import until
from tests.system.case import THROUGHPUT, SystemCase
from vespa.simulator.child import Child
from vespa.simulator.launch import ROOT

CALLERS = 8
CALLS = 5
"""Of each caller, one after the other."""
PAYLOAD = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 8}
"""A backend of twenty tokens a second works on it for 0.4 s."""


class SeveralBackendsTests(SystemCase):
    async def start_one(self, port: str = "0") -> tuple[Child, str]:
        """Start a backend; its process, and its port."""
        script = os.path.join(ROOT, "tests", "e2e", "backend.py")
        backend = self.start([sys.executable, script, "20", port], folder=ROOT)
        return backend, (await self.until_line(backend, r"^listening (\d+)$"))[1]

    async def start_three(self, **more: str) -> Child:
        """A worker that the autoscaler holds for ready, before three backends."""
        self.processes, self.ports = [], []
        for _ in range(3):
            process, port = await self.start_one()
            self.processes.append(process)
            self.ports.append(port)
        self.backend_url = ", ".join(f"http://127.0.0.1:{port}" for port in self.ports)
        worker = await self.start_worker(VESPA_HEALTHCHECK_POLL_INTERVAL="0.5", **more)
        await self.until_worker(worker, lambda: self.worker_totals.max_perf == 3 * THROUGHPUT, "the sum is told")
        return worker

    async def calls(self) -> list[int]:
        """The statuses of calls, one after the other."""
        statuses = []
        for _ in range(CALLS):
            peer, _ = await self.call("/v1/chat/completions", PAYLOAD, cost=1.0)
            statuses.append((await peer.answer()).status)
        return statuses

    async def test_killed_and_back(self) -> None:
        """
        One is killed under load: no call fails, the others serve them, and the worker tells less throughput and no
        error. It comes back, and takes its share again.
        """
        await self.killed_and_back()

    async def test_with_a_queue(self) -> None:
        """The same with few slots, so that calls wait in the queue and for a slot at another backend."""
        await self.killed_and_back(VESPA_MAX_CONCURRENCY="2")

    async def killed_and_back(self, **settings: str) -> None:
        worker = await self.start_three(**settings)
        calling = [Deferred.fromCoroutine(self.calls()) for _ in range(CALLERS)]
        await until(lambda: self.worker_totals.in_flight > CALLERS // 2, 20.0, "calls are at work")
        self.processes[1].signal("KILL")
        await self.processes[1].exited()
        await self.until_worker(worker, lambda: self.worker_totals.max_perf == 2 * THROUGHPUT, "less is told")
        self.assertEqual(self.worker_totals.error_msg or "", "")
        await self.start_one(self.ports[1])
        await self.until_worker(worker, lambda: self.worker_totals.max_perf == 3 * THROUGHPUT, "it is back")
        statuses = [status for each in await gatherResults(calling, consumeErrors=True) for status in each]
        self.assertEqual(statuses, [200] * (CALLERS * CALLS), worker.text)
        self.assertIn(f"the backend 127.0.0.1:{self.ports[1]} is errored", worker.text)
        self.assertNotIn("the worker is errored", worker.text)
        again = [status for each in await gatherResults([Deferred.fromCoroutine(self.calls())]) for status in each]
        self.assertEqual(again, [200] * CALLS)
        await self.end_well(worker)

    async def test_all_gone(self) -> None:
        """All are killed: the worker is errored, and the report names each. One that returns is enough."""
        worker = await self.start_three()
        for process in self.processes:
            process.signal("KILL")
        await self.until_worker(worker, lambda: self.worker_totals.error_msg, "an error is told")
        for port in self.ports:
            self.assertIn(f"127.0.0.1:{port}: the backend", self.worker_totals.error_msg or "")
        peer, _ = await self.call("/v1/chat/completions", PAYLOAD)
        response = await peer.answer()
        self.assertEqual((response.status, json.loads(bytes(response.body))["error"]["code"]), (503, "not_ready"))
        await self.start_one(self.ports[2])
        await self.until_worker(worker, lambda: self.worker_totals.error_msg == "", "it is well again")
        self.assertEqual(self.worker_totals.max_perf, THROUGHPUT)
        await self.end_well(worker)
