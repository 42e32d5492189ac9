"""Tests of `vespa.simulator.processes`: several workers, and a client before them, as processes."""

from __future__ import annotations

import json
from typing import Any

import treq
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.processes import ProcessCase, until
from tests.simulator_support.deployment import ControlledDeployment, client_arguments
from vespa.simulator.child import ClientChild
from vespa.simulator.processes import NotReady

CHAT = "/v1/chat/completions"
ASKED: dict[str, Any] = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 2}
BENCHMARK: dict[str, Any] = {"VESPA_BENCHMARK": "tests.e2e.benchmark:benchmark"}


class CommandTests(SynchronousTestCase):
    def test_options(self) -> None:
        """Options are written as on a command line: a switch by itself, a list as many."""
        options: dict[str, object] = {"max_connections": 5, "waiting_pings": True, "debug": False}
        found = client_arguments({**options, "allow_host": ["a", "b"]})
        expected = ["--max-connections=5", "--waiting-pings", "--allow-host=a", "--allow-host=b"]
        self.assertEqual(found, expected)

    def test_secrets(self) -> None:
        """A key or token is never an argument."""
        for name in ("api_key", "account_key", "token"):
            self.assertRaises(ValueError, client_arguments, {name: "x"})


class StageTests(ProcessCase):
    async def ask(self, client: ClientChild) -> int:
        headers: Any = {"Content-Type": "application/json"}
        response = await treq.post(client.url + CHAT, json.dumps(ASKED).encode(), headers=headers, persistent=False)
        await treq.content(response)
        code: int = response.code
        return code

    async def begin(self, **options: Any) -> ControlledDeployment:
        deployment = self.deployment(**options)
        await deployment.start_autoscaler()
        await deployment.start_backend()
        return deployment

    async def test_worker_dies(self) -> None:
        """A request that was given a dead worker is served by another, under its index, and the totals add up."""
        deployment = await self.begin()
        first, second = deployment.start_worker(**BENCHMARK), deployment.start_worker(**BENCHMARK)
        self.assertEqual((first.id, second.id, deployment.worker), (7, 8, second))
        self.assertEqual(deployment.workers[-1].url, second.url)
        await deployment.until_ready()
        client = await deployment.start_client()
        await deployment.kill(first)
        self.assertEqual(await self.ask(client), 200, client.text)
        asked = [(each.request_idx, each.answered_idx, each.url) for each in deployment.autoscaler.routes]
        self.assertEqual(asked, [(0, 1, first.url), (1, 1, second.url)])
        totals = deployment.autoscaler.totals
        await until(lambda: totals.finished() == {1: [8]} and totals.adds_up(reactor.seconds()))

    async def test_noticed(self) -> None:
        """A worker known to be dead gets no more requests; one restarted with its id does."""
        deployment = await self.begin()
        first = deployment.start_worker(**BENCHMARK)
        await deployment.until_ready()
        await deployment.kill(first, noticed=True)
        self.assertIsNone(deployment.autoscaler.totals.least_loaded(reactor.seconds()))
        again = deployment.start_worker(first.port, **BENCHMARK, CONTAINER_ID="7")
        await deployment.until_ready()
        self.assertEqual((again.id, again.url), (first.id, first.url))

    async def test_tls(self) -> None:
        """A client trusts workers that show a certificate of the simulator's authority; both end well, client first."""
        deployment = await self.begin()
        worker = deployment.start_worker(tls=True, **BENCHMARK)
        await deployment.until_ready()
        client = await deployment.start_client(account_key=deployment.autoscaler.account_key)
        self.assertEqual(await self.ask(client), 200, client.text)
        self.assertTrue(worker.url.startswith("https://"))
        self.assertNotIn(deployment.autoscaler.endpoint_key, client.text)
        self.assertEqual(await deployment.stop(), 0, client.text)
        self.assert_clean_log(client)
        self.assert_clean_log(worker)

    async def test_client_fails(self) -> None:
        """The error for a client that cannot start has its last line."""
        deployment = await self.begin()
        error = await self.assertFailure(Deferred.fromCoroutine(deployment.start_client(account_key="wrong")), NotReady)
        self.assertIn("exit code 1", str(error))
        self.assertIn("account key", str(error))
