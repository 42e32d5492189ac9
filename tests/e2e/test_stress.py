"""Many requests of every kind at once, with hang-ups at random: nothing may be lost, leaked or counted twice."""

from __future__ import annotations

import json
import os
from random import Random
from typing import Any

from attrs import frozen
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol

from tests.e2e.clients import ServiceCase
from tests.processes import until
from tests.seeds import random_source
from tests.simulator_support.deployment import ControlledDeployment
from tests.simulator_support.wire import Wire
from vespa.simulator.signing import body_envelope, query_envelope

REQUESTS = 500
AT_ONCE = 25
MESSAGES = [{"role": "user", "content": "Say anything."}]


@frozen
class Wanted:
    """One request: its bytes, the statuses that are right, and after how many seconds to hang up, if at all."""

    request_idx: int
    data: bytes
    statuses: tuple[int, ...]
    genuine: bool
    leave_after: float | None


def http(method: str, target: str, body: bytes = b"", *headers: str) -> bytes:
    length = [f"Content-Length: {len(body)}"] if body or method in ("POST", "PUT") else []
    lines = [f"{method} {target} HTTP/1.1", "Host: worker", "Connection: close", *length, *headers, "", ""]
    return "\r\n".join(lines).encode() + body


class StressTests(ServiceCase):
    def wanted(self, deployment: ControlledDeployment, dice: Random) -> Wanted:
        auth = deployment.autoscaler.assign(deployment.workers[-1].url, dice.choice([0, 0.1, 1, 2.5, 20, 100]))
        genuine = True
        statuses: tuple[int, ...] = (200,)
        kind = dice.randrange(9)
        query = query_envelope(auth)
        if kind in (0, 1):
            payload: dict[str, Any] = {"messages": MESSAGES, "stream": kind == 1}
            data = http("POST", "/v1/chat/completions", body_envelope(auth, payload), "Content-Type: application/json")
        elif kind == 2:
            data = http("PUT", f"/upload?{query}", dice.randbytes(dice.randrange(200_000)))
        elif kind == 3:
            data = http("GET", f"/big?size={dice.randrange(3_000_000)}&{query}")
        elif kind == 4:
            data = http("HEAD", f"/v1/models?{query}")
        elif kind == 5:
            data, statuses = http("GET", f"/status/500?{query}"), (500,)
        elif kind == 6:
            # The backend dies: before its head is through that is a 502, after it a connection that is cut.
            data, statuses = http("GET", f"/die?size=5000&after=2000&{query}"), (200, 502)
        elif kind == 7:
            data = http("GET", f"/sleep?seconds={dice.random() / 5}&{query}")
        else:
            forged = {**auth, "signature": "A" * 342 + "=="}
            data = http("POST", "/v1/chat/completions", body_envelope(forged, {}), "Content-Type: application/json")
            genuine, statuses = False, (401,)
        leaves = dice.random() < 0.3
        return Wanted(auth["request_idx"], data, statuses, genuine, dice.random() / 5 if leaves else None)

    async def send(self, deployment: ControlledDeployment, wanted: Wanted) -> None:
        port = int(deployment.workers[-1].url.rsplit(":", 1)[1])
        wire: Wire = await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", port), Wire())
        transport: Any = wire.transport
        transport.write(wanted.data)
        leave = None if wanted.leave_after is None else reactor.callLater(wanted.leave_after, transport.abortConnection)
        await wire.lost
        if leave is None or leave.active():
            status = int(wire.received.split(b" ", 2)[1])
            self.assertIn(status, (*wanted.statuses, 429), bytes(wire.received[:500]))
        if leave is not None and leave.active():
            leave.cancel()

    async def test_mixed_requests(self) -> None:
        """After mixed requests and hang-ups load is 0, the totals add up, nothing is open, nothing was logged wrong."""
        deployment = await self.start_service(VESPA_MAX_WAIT_TIME="3", VESPA_BACKEND_KEEPALIVE="0.5")
        worker = deployment.worker
        assert worker is not None
        files = f"/proc/{worker.pid}/fd"
        before = len(os.listdir(files))
        dice = random_source(2)
        wanted_requests = [self.wanted(deployment, dice) for _ in range(REQUESTS)]
        waiting = iter(wanted_requests)

        async def one_by_one() -> None:
            for wanted in waiting:
                await self.send(deployment, wanted)

        await gatherResults([Deferred.fromCoroutine(one_by_one()) for _ in range(AT_ONCE)], consumeErrors=True)

        answered = [wanted for wanted in wanted_requests if wanted.genuine and wanted.leave_after is None]
        must = frozenset(wanted.request_idx for wanted in answered)
        # Those who left are among the reported too: so many reports may come before those that must.
        totals = await self.settled(deployment, len(must), must)
        told = {int(idx) for idx in totals["deletes"]}
        self.assertEqual(totals["duplicates"], [], "each request is deleted once")
        self.assertLessEqual(must, told, "each request that was answered is deleted")
        self.assertEqual(told & {wanted.request_idx for wanted in wanted_requests if not wanted.genuine}, set())
        self.assertLessEqual({"Success", "Error", "Cancelled"}, set(totals["outcomes"]), totals["outcomes"])
        self.assertGreater(totals["outcomes"]["Success"], REQUESTS // 3, totals["outcomes"])
        await until(lambda: not deployment.backend.stats.in_progress, 10, "every request ended at the backend")
        await until(lambda: len(os.listdir(files)) <= before + 1, 10, "every connection closed")
        code = await worker.end(reactor)
        self.assertEqual(code, 0, worker.text)
        self.assert_clean_log(worker)
        self.assertEqual(json.dumps(deployment.autoscaler.ledger()["malformed"]), "[]")
