"""One worker before two real llama.cpp servers, each in a process of its own."""

from __future__ import annotations

import json
import os
import signal
from itertools import count
from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from tests.e2e.clients import need
from tests.e2e.llama_server import SHARED
from tests.e2e.test_llama_streams import PAYLOAD, TOKENS, LlamaCase, request, verdict
from tests.processes import until
from tests.simulator_support.deployment import ControlledDeployment
from vespa.accounting.affinity import in_order_of_affinity, number_of
from vespa.accounting.workload import MICROS
from vespa.simulator.child import Child

CALLS = 24
COST = 10.0
THROUGHPUT = 200.0
"""Of each server, by the benchmark of the tests."""
QUICK: dict[str, Any] = {"VESPA_HEALTHCHECK_POLL_INTERVAL": "0.5"}


class Server:
    """A server with the number that it has for affinity."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.seed = number_of(url.encode())


class SeveralLlamasTests(LlamaCase):
    timeout = 180

    def setUp(self) -> None:
        need("xllamacpp")

    async def start_two(self, **settings: str) -> ControlledDeployment:
        """
        A worker before the shared server and a second one, which may be killed. Both are ready: the worker is as soon
        as the first one is, and until the second is too, it gets nothing.
        """
        self.first = await self.start_llama()
        self.second, self.killable = await self.start_second()
        deployment = await self.start_service(f"{self.first} {self.second}", tls=False, **{**QUICK, **settings})
        self.totals = deployment.autoscaler.totals.of(deployment.workers[-1].id)
        await until(lambda: self.totals.max_perf == 2 * THROUGHPUT, 20.0, "the sum of two backends is told")
        return deployment

    async def start_second(self) -> tuple[str, Child]:
        child = self.script("llama.py", self.temporary_folder())
        port = (await self.until_line(child, r"^listening (\d+)$", 60.0))[1]
        return f"http://127.0.0.1:{port}", child

    async def calls(self, deployment: ControlledDeployment, count: int, at_once: int, **more: Any) -> list[bytes]:
        """Responses to calls of the worker, each on a connection of its own."""
        url = deployment.workers[-1].url
        numbers = iter(range(count))
        self.responses: list[bytes] = []

        async def one_by_one() -> None:
            for _ in numbers:
                auth = deployment.autoscaler.assign(url, COST)
                body = json.dumps({"auth_data": auth, "payload": {**PAYLOAD, **more}}).encode()
                self.responses.append(await self.ask(url, request(body)))

        await gatherResults([Deferred.fromCoroutine(one_by_one()) for _ in range(at_once)], consumeErrors=True)
        return self.responses

    def hold_both(self) -> None:
        """Let both servers sleep; the test's end wakes them at the latest."""
        self.addCleanup(self.signal_both, signal.SIGCONT)
        self.signal_both(signal.SIGSTOP)

    def signal_both(self, number: signal.Signals) -> None:
        SHARED.signal(number)
        assert self.killable.pid is not None
        os.kill(self.killable.pid, number)

    def server_of(self, user: str) -> str:
        """The server to which affinity leads the calls of a user. Ports differ from run to run, and so does this."""
        servers = [Server(url) for url in (self.first, self.second)]
        return in_order_of_affinity(number_of(json.dumps(user).encode()), servers)[0].url

    async def generated(self) -> list[int]:
        """The tokens that each server has generated."""
        return [(await self.work(url))["tokens_predicted_total"] for url in (self.first, self.second)]

    async def test_shared(self) -> None:
        """Streams come whole, each was worked on once, and both servers had their half. The throughput is the sum."""
        deployment = await self.start_two()
        before = await self.generated()
        # While both servers sleep neither is done with a call before the other, so that it would get more of them.
        self.hold_both()
        calling = Deferred.fromCoroutine(self.calls(deployment, CALLS, CALLS))
        await until(lambda: self.totals.in_flight == CALLS * COST * MICROS, 20.0, "all calls are at work")
        self.signal_both(signal.SIGCONT)
        responses = await calling
        self.assertEqual([verdict(response) for response in responses], ["whole"] * CALLS)
        shares = [after - each for after, each in zip(await self.generated(), before, strict=True)]
        self.assertEqual(shares, [CALLS * TOKENS // 2] * 2)
        await self.settled(deployment, CALLS)
        self.assert_clean(deployment)

    async def test_affinity(self) -> None:
        """All calls of a user go to one server, and there are users of both."""
        deployment = await self.start_two(VESPA_AFFINITY="json:user")
        before = await self.generated()
        for server in (self.first, self.second):
            user = next(user for user in map(str, count()) if self.server_of(user) == server)
            await self.calls(deployment, 6, 2, user=user)
            after = await self.generated()
            grown = [a - b for a, b in zip(after, before, strict=True)]
            self.assertEqual(grown, [6 * TOKENS * (url == server) for url in (self.first, self.second)])
            before = after

    async def test_killed(self) -> None:
        """One server is killed with calls at work: all calls have a whole answer, from the other."""
        deployment = await self.start_two()
        calling = Deferred.fromCoroutine(self.calls(deployment, 3 * CALLS, 6, stream=False, max_tokens=400))
        await until(lambda: len(getattr(self, "responses", ())) > 6, 30.0, "the others are at work")
        self.killable.signal("KILL")
        responses = await calling
        self.assertEqual([response[9:12] for response in responses], [b"200"] * 3 * CALLS, deployment.workers[-1].text)
        await until(lambda: self.totals.max_perf == THROUGHPUT, 20.0, "less is told")
        self.assertEqual(self.totals.error_msg or "", "")
        await self.settled(deployment, 3 * CALLS)
