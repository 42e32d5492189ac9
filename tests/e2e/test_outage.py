"""An outage of the autoscaler does not affect requests, and afterwards each is reported once."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.task import deferLater

from tests.e2e.clients import ServiceCase
from tests.processes import until
from tests.simulator_support.faults import Kind
from vespa.simulator.demo_client import DemoClient

REPORTS = {"/worker_status/", "/delete_requests/"}
QUICK: dict[str, Any] = {
    "VESPA_METRICS_TIMEOUT": "2",  # a report that was taken, but whose answer comes later than that, is told twice
    "VESPA_METRICS_RETRY_DELAY": "0.1",
    "VESPA_METRICS_MAX_RETRIES": "2",
}
CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "Hello."}], "max_tokens": 3}


class OutageTests(ServiceCase):
    async def survives(self, kind: Kind) -> None:
        deployment = await self.start_service(**QUICK)
        autoscaler = deployment.autoscaler
        demo_client = DemoClient(reactor, deployment.autoscaler_url, autoscaler.endpoint, autoscaler.endpoint_key)
        assignments = [await demo_client.assignment(5) for _ in range(10)]
        autoscaler.faults.plan(kind, float("inf"), paths=REPORTS)
        for assignment in assignments[:5]:
            response = await demo_client.call(assignment, "/v1/chat/completions", CHAT)
            self.assertEqual(response.status, 200, response.body)
        await until(lambda: autoscaler.faults.met >= 3)
        for assignment in assignments[5:]:
            response = await demo_client.call(assignment, "/v1/chat/completions", CHAT)
            self.assertEqual(response.status, 200, response.body)
        autoscaler.faults.clear()
        totals = await self.settled(deployment, 10)
        told = {str(assignment["request_idx"]): ["Success"] for assignment in assignments}
        self.assertEqual((totals["deletes"], totals["received"], totals["served"]), (told, 50.0, 50.0))

    async def test_refuses(self) -> None:
        """An autoscaler that answers errors loses nothing."""
        await self.survives("refuse")

    async def test_hangs(self) -> None:
        """An autoscaler that never answers loses nothing."""
        await self.survives("hang")

    async def test_drops(self) -> None:
        """An autoscaler that drops connections loses nothing."""
        await self.survives("drop")

    async def test_slow_key(self) -> None:
        """A worker that could not fetch the key at first becomes ready once it can, and serves."""
        deployment = self.deployment()
        await deployment.start_autoscaler()
        await deployment.start_backend()
        deployment.autoscaler.faults.plan("refuse", 2, paths={"/pubkey/"})
        await self.start_worker(deployment, VESPA_PUBKEY_TIMEOUT="0.5")
        autoscaler = deployment.autoscaler
        demo_client = DemoClient(reactor, deployment.autoscaler_url, autoscaler.endpoint, autoscaler.endpoint_key)
        statuses: list[int] = []

        async def ask() -> None:
            response = await demo_client.call(await demo_client.assignment(5), "/v1/chat/completions", CHAT)
            self.assertIn(response.status, (200, 503), response.body)
            statuses.append(response.status)

        await ask()
        while statuses[-1] != 200 and len(statuses) < 100:
            await deferLater(reactor, 0.1)
            await ask()
        self.assertEqual(statuses[-1], 200)
