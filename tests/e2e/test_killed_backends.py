"""A backend that is killed with requests under way, behind one of two workers: the calls succeed on the other."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Coroutine
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from tests.e2e.callers import CallerCase
from tests.processes import until
from tests.simulator_support.deployment import ControlledDeployment
from vespa.simulator.child import Child, ClientChild, WorkerChild

CALLS = 40
TOLD_SECONDS = 5.0
"""Within which the autoscaler has to hear that a worker's backend is gone."""


def chat(**more: Any) -> bytes:
    """A call that a backend of twenty tokens a second works on for half a second."""
    body = json.dumps({"messages": [{"role": "user", "content": "x"}], "max_tokens": 10, **more}).encode()
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


class KilledBackendTests(CallerCase):
    async def start_two(self, **settings: str) -> tuple[ControlledDeployment, ClientChild, Child, WorkerChild]:
        """A client before two workers. Returns also the one's backend, in a process of its own, and that worker."""
        deployment = self.deployment()
        await deployment.start_autoscaler()
        await deployment.start_backend()
        deployment.backend.tokens_per_second = 20.0
        backend = self.script("backend.py", "20", python=sys.executable)
        port = (await self.until_line(backend, r"^listening (\d+)$"))[1]
        await self.start_workers(deployment, 1, tls=True, **settings)
        await self.start_workers(deployment, 1, tls=True, VESPA_BACKEND_URL=f"http://127.0.0.1:{port}", **settings)
        return deployment, await deployment.start_client(), backend, deployment.workers[1]

    async def ask(self, client: ClientChild, data: bytes) -> bytes:
        wire = await self.connect(client)
        transport: Any = wire.transport
        transport.write(data)
        await wire.lost
        return bytes(wire.received)

    async def all_of(self, *calls: Coroutine[Any, Any, bytes]) -> list[bytes]:
        return list(await gatherResults([Deferred.fromCoroutine(call) for call in calls], consumeErrors=True))

    def statuses(self, responses: list[bytes]) -> Counter[bytes]:
        return Counter(response[9:12] for response in responses)

    async def at_work(self, deployment: ControlledDeployment, worker: WorkerChild) -> None:
        """Return when a worker was assigned some requests, and has had a moment to begin with them."""
        assigned = deployment.autoscaler.totals.assigned
        await until(lambda: sum(worker.id in ids for ids in assigned.values()) > 2, 20, "it has some requests")
        await deferLater(reactor, 0.2)

    async def killed(self, deployment: ControlledDeployment, backend: Child, worker: WorkerChild) -> float:
        """Kill the backend; returns after how many seconds its worker told an error."""
        began = reactor.seconds()
        backend.signal("KILL")
        worker_totals = deployment.autoscaler.totals.of(worker.id)
        await until(lambda: worker_totals.error_msg, 20, "an error is told")
        self.assertIn("refuses connections", worker_totals.error_msg or "")
        return float(reactor.seconds() - began)

    async def test_under_way(self) -> None:
        """Requests at work, waiting in the worker and on their way when it is killed, and those that come after."""
        for settings in ({}, {"VESPA_MAX_CONCURRENCY": "3"}, {"VESPA_CONNECTION_LIMIT": "3"}):
            deployment, client, backend, worker = await self.start_two(**settings)
            under_way = [Deferred.fromCoroutine(self.ask(client, chat())) for _ in range(CALLS // 2)]
            await self.at_work(deployment, worker)
            killing = Deferred.fromCoroutine(self.killed(deployment, backend, worker))
            later = [Deferred.fromCoroutine(self.ask(client, chat())) for _ in range(CALLS // 2)]
            await self.assert_quick(await killing, TOLD_SECONDS)
            responses = await gatherResults([*under_way, *later], consumeErrors=True)
            self.assertEqual(self.statuses(responses), {b"200": CALLS}, client.text)
            await self.balanced(deployment)
            self.assert_clean(deployment)

    async def test_streams(self) -> None:
        """Streams of which bytes have come break off; all others arrive whole."""
        deployment, client, backend, worker = await self.start_two()
        streams = [Deferred.fromCoroutine(self.ask(client, chat(stream=True))) for _ in range(10)]
        await self.at_work(deployment, worker)
        await self.assert_quick(await self.killed(deployment, backend, worker), TOLD_SECONDS)
        responses = await gatherResults(streams, consumeErrors=True)
        self.assertEqual(self.statuses(responses), {b"200": 10}, client.text)
        whole = [response for response in responses if response.endswith(b"0\r\n\r\n")]
        self.assertGreaterEqual(len(whole), 5)

    async def test_idle(self) -> None:
        """It is killed while nothing is asked: none of forty calls that come then fails."""
        deployment, client, backend, worker = await self.start_two()
        self.assertEqual(self.statuses(await self.all_of(*(self.ask(client, chat()) for _ in range(4)))), {b"200": 4})
        backend.signal("KILL")
        await backend.exited()
        responses: list[bytes] = []
        for _ in range(CALLS // 10):
            responses += await self.all_of(*(self.ask(client, chat()) for _ in range(10)))
        self.assertEqual(self.statuses(responses), {b"200": CALLS}, client.text)
        worker_totals = deployment.autoscaler.totals.of(worker.id)
        began = reactor.seconds()
        await until(lambda: worker_totals.error_msg, 20, "an error is told")
        await self.assert_quick(reactor.seconds() - began, TOLD_SECONDS)
        await self.balanced(deployment)
