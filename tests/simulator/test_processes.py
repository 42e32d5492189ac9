"""Tests of `vespa.simulator.processes`: several workers, and a client before them, as processes."""

from __future__ import annotations

import json
from typing import Any

import treq
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.processes import ProcessCase, until
from tests.simulator.test_child import Process, Processes
from tests.simulator_support.caller import worker_status
from tests.simulator_support.deployment import ControlledDeployment, client_arguments
from vespa.simulator.autoscaler import SimulatedAutoscaler
from vespa.simulator.backend import SimulatedBackend
from vespa.simulator.child import Child, ClientChild, WorkerChild
from vespa.simulator.processes import FIRST_ID, MASTER_TOKEN, Deployment, NotReady
from vespa.simulator.reports import WorkerStatus, read

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


class MemoryTests(SynchronousTestCase):
    """A deployment whose processes are none: what it starts, what it waits for, how it ends."""

    def setUp(self) -> None:
        self.reactor = Processes()
        self.autoscaler = SimulatedAutoscaler(self.reactor, master_token=MASTER_TOKEN)
        backend = SimulatedBackend(self.reactor)
        environment = {"PATH": "/bin", "VESPA_MAX_QUEUE": "9"}
        self.deployment = Deployment(self.reactor, "/folder", environment, self.autoscaler, backend)
        self.deployment.autoscaler_url, self.deployment.backend_url = "http://127.0.0.1:1", "http://127.0.0.1:2"

    def process(self, child: Child) -> Process:
        process: Any = child.transport
        return process

    def report(self, worker: WorkerChild, **more: Any) -> None:
        """This worker's report reaches the autoscaler."""
        status = read(json.dumps(worker_status(id=worker.id, **more)).encode(), WorkerStatus)
        self.autoscaler.totals.of(worker.id).take(status, self.reactor.seconds())

    def test_worker(self) -> None:
        """A worker has the settings of Vast.ai and those that are given, none of the caller's, and an id of its own."""
        first = self.deployment.run_worker(3000, {"VESPA_USE_SSL": "true"})
        second = self.deployment.run_worker(3001, {})
        self.assertEqual([each.id for each in (first, second)], [FIRST_ID, FIRST_ID + 1])
        self.assertEqual([each.url for each in (first, second)], ["https://127.0.0.1:3000", "http://127.0.0.1:3001"])
        _, environment, folder = self.reactor.started[0]
        self.assertEqual(
            (folder, environment["PATH"], environment["REPORT_ADDR"]), ("/folder", "/bin", "http://127.0.0.1:1")
        )
        self.assertEqual((environment["VESPA_USE_SSL"], "VESPA_MAX_QUEUE" in environment), ("true", False))

    def test_backend(self) -> None:
        """The small backend gets its port and its rate, and is nobody's to end but the caller's."""
        child = self.deployment.run_backend(4000, 50.0)
        self.assertEqual(self.reactor.started[0][0][-2:], ["4000", "50.0"])
        self.successResultOf(Deferred.fromCoroutine(self.deployment.stop()))
        self.assertEqual(self.process(child).signals, [])

    def test_client(self) -> None:
        """A client is there when it has said where; it calls nothing outside and has no keys of the user's."""
        starting = Deferred.fromCoroutine(self.deployment.run_client(["--port=0"], {"VAST_API_KEY": "key"}))
        (client,) = self.deployment.clients
        self.reactor.advance(0.1)
        self.assertNoResult(starting)
        self.process(client).say(b"ready: http://127.0.0.1:8010\n")
        self.reactor.advance(0.1)
        self.assertIs(self.successResultOf(starting), client)
        environment = self.reactor.started[0][1]
        for name, value in (
            ("HOME", "/folder"),
            ("VAST_API_KEY", "key"),
            ("VAST_AUTOSCALER_URL", "http://127.0.0.1:1"),
            ("VAST_CONSOLE_URL", "http://127.0.0.1:1"),
        ):
            self.assertEqual(environment[name], value)

    def test_client_ends(self) -> None:
        """A client that ends instead is an error with its last line; so is one that says nothing for too long."""
        starting = Deferred.fromCoroutine(self.deployment.run_client([], {}))
        self.process(self.deployment.clients[0]).say(b"the port is taken\n")
        self.process(self.deployment.clients[0]).end(1)
        self.reactor.advance(0.1)
        error = self.failureResultOf(starting, NotReady).value
        self.assertEqual(str(error), "the client ended with exit code 1 before listening: the port is taken")
        starting = Deferred.fromCoroutine(self.deployment.run_client([], {}, 2.0))
        self.reactor.pump([0.5] * 5)
        self.assertEqual(str(self.failureResultOf(starting, NotReady).value), "not listening within 2 seconds")

    def test_ready(self) -> None:
        """It is ready when each running worker is; one that has ended before is not waited for."""
        gone = self.deployment.run_worker(3000, {})
        self.process(gone).end(0)
        workers = [self.deployment.run_worker(port, {}) for port in (3001, 3002)]
        waiting = Deferred.fromCoroutine(self.deployment.until_ready())
        for worker in workers:
            self.reactor.advance(0.1)
            self.assertNoResult(waiting)
            self.report(worker, loadtime=1.0)
        self.reactor.advance(0.1)
        self.successResultOf(waiting)

    def test_not_ready(self) -> None:
        """A worker that reports an error or ends is an error at once."""
        worker = self.deployment.run_worker(3000, {})
        waiting = Deferred.fromCoroutine(self.deployment.until_ready())
        self.report(worker, error_msg="no backend")
        self.reactor.advance(0.1)
        self.assertEqual(str(self.failureResultOf(waiting, NotReady).value), "the worker reports: no backend")
        other = self.deployment.run_worker(3001, {})
        self.report(worker, loadtime=1.0)
        waiting = Deferred.fromCoroutine(self.deployment.until_ready())
        self.process(other).end(3)
        self.reactor.advance(0.1)
        self.assertIn("ended with exit code 3 before ready", str(self.failureResultOf(waiting, NotReady).value))

    def test_stop(self) -> None:
        """Clients end before workers are asked to, and the first exit code that is not 0 is returned."""
        worker = self.deployment.run_worker(3000, {})
        starting = Deferred.fromCoroutine(self.deployment.run_client([], {}))
        (client,) = self.deployment.clients
        self.process(client).say(b"ready: http://127.0.0.1:8010\n")
        self.reactor.advance(0.1)
        self.successResultOf(starting)
        stopping = Deferred.fromCoroutine(self.deployment.stop())
        self.assertEqual((self.process(client).signals, self.process(worker).signals), (["TERM"], []))
        self.process(client).end(0)
        self.assertEqual(self.process(worker).signals, ["TERM"])
        self.process(worker).end(5)
        self.assertEqual(self.successResultOf(stopping), 5)

    def test_nothing_started(self) -> None:
        """Without a process there is no exit code."""
        self.assertIsNone(self.successResultOf(Deferred.fromCoroutine(self.deployment.stop())))


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
