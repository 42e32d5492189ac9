"""Many requests of every kind through a client and two workers, with hang-ups, and a worker that is killed half-way."""

from __future__ import annotations

import json
import os
from collections import Counter
from random import Random
from typing import Any

from attrs import frozen
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults

from tests.e2e.callers import CallerCase
from tests.processes import until
from tests.proxy.browsers import browser_requests
from tests.seeds import random_source
from vespa.simulator.child import ClientChild

REQUESTS = 300
AT_ONCE = 20
IDLE_SECONDS = 40.0
"""After which the client has closed what it keeps open for the next request."""
MESSAGES = [{"role": "user", "content": "Say anything."}]


@frozen
class Wanted:
    """One request: its bytes, the status that is right (None: any), and after how many seconds to hang up, if at all.

    `costs` unless it is refused before the autoscaler is asked.
    """

    data: bytes
    status: int | None = 200
    leave_after: float | None = None
    costs: bool = True


@frozen
class Outcome:
    """How a request ended: `left`, `right`, or what was wrong; and when it began and was over."""

    how: str
    began: float
    over: float


def http(method: str, target: str, body: bytes = b"", *headers: str) -> bytes:
    length = [f"Content-Length: {len(body)}"] if body or method in ("POST", "PUT") else []
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost", "Connection: close", *length, *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def chat(**more: Any) -> bytes:
    body = json.dumps({"messages": MESSAGES, "max_tokens": 30, **more}).encode()
    return http("POST", "/v1/chat/completions", body, "Content-Type: application/json")


def upload(body: bytes) -> bytes:
    """As the body's length is not known: in chunks of different sizes."""
    head = http("PUT", "/upload", b"", "Transfer-Encoding: chunked").replace(b"Content-Length: 0\r\n", b"")
    chunks = [body[start : start + 60_001] for start in range(0, len(body), 60_001)]
    return head + b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


def wanted(client: ClientChild, dice: Random) -> Wanted:
    leave = dice.random() / 4 if dice.random() < 0.25 else None
    kind = dice.randrange(10)
    if kind in (0, 1, 2):
        return Wanted(chat(stream=kind != 0), leave_after=leave)
    if kind == 3:
        return Wanted(http("PUT", "/upload", dice.randbytes(dice.randrange(2_000_000))), leave_after=leave)
    if kind == 4:
        return Wanted(upload(dice.randbytes(dice.randrange(500_000))), leave_after=leave)
    if kind == 5:
        return Wanted(http("GET", f"/big?size={dice.randrange(3_000_000)}"), leave_after=leave)
    if kind == 6:
        return Wanted(http(dice.choice(["GET", "HEAD"]), "/v1/models"), leave_after=leave)
    if kind == 7:
        return Wanted(http("GET", "/status/500"), 500, leave)
    if kind == 8:
        # The backend dies: before its head is through that is a 502, after it a connection that is cut.
        return Wanted(http("GET", "/die?size=5000&after=2000"), None, leave)
    port = int(client.url.rsplit(":", 1)[1])
    return Wanted(dice.choice(browser_requests(port)).data, 403, dice.random() / 4, costs=False)


def whole(response: bytes, head_only: bool) -> bool:
    """Whether a response came to its end."""
    head, found, body = response.partition(b"\r\n\r\n")
    if not found:
        return False
    lines = head.lower().split(b"\r\n")
    if b"transfer-encoding: chunked" in lines:
        return body.endswith(b"0\r\n\r\n")
    lengths = [int(line[15:]) for line in lines if line.startswith(b"content-length:")]
    return head_only or not lengths or len(body) == lengths[0]


class ClientStressTests(CallerCase):
    async def outcome(self, client: ClientChild, wanted: Wanted) -> Outcome:
        began = reactor.seconds()
        how = await self.send(client, wanted)
        return Outcome(how, began, reactor.seconds())

    async def send(self, client: ClientChild, wanted: Wanted) -> str:
        """Send one and say how it ended: `left`, `right`, or what was wrong."""
        wire = await self.connect(client)
        transport: Any = wire.transport
        transport.write(wanted.data)
        leave = None if wanted.leave_after is None else reactor.callLater(wanted.leave_after, transport.abortConnection)
        await wire.lost
        left = leave is not None and not leave.active()
        if leave is not None and leave.active():
            leave.cancel()
        if not wire.received:
            return "left" if left else "nothing came"
        status = int(wire.received.split(b" ", 2)[1])
        if wanted.status is not None and status != wanted.status:
            return f"{status}: {bytes(wire.received[-300:])!r}"
        if wanted.status is None or left:
            return "left" if left else "right"
        return "right" if whole(bytes(wire.received), wanted.data.startswith(b"HEAD")) else "cut short"

    def sockets(self, client: ClientChild) -> int:
        """How many descriptors the client has open."""
        return len(os.listdir(f"/proc/{client.pid}/fd"))

    async def test_mixed_requests(self) -> None:
        """Every request ends as it should but those that the killed worker was answering; nothing stays open."""
        deployment, client = await self.start_chain(workers=2, attempts=5)
        killed, survivor = deployment.workers
        deployment.backend.tokens_per_second = 100.0
        before = self.sockets(client)
        dice = random_source(4)
        wanted_requests = [wanted(client, dice) for _ in range(REQUESTS)]
        ended: list[Outcome] = []
        killed_at = 0.0
        waiting = iter(wanted_requests)

        async def one_by_one() -> None:
            for each in waiting:
                ended.append(await self.outcome(client, each))

        async def kill() -> None:
            nonlocal killed_at
            await until(lambda: len(ended) >= REQUESTS // 2, 60, "half of it is over")
            killed_at = reactor.seconds()
            await deployment.kill(killed)
            await until(lambda: len(ended) > REQUESTS * 2 // 3, 60, "the killed worker was still assigned for a while")
            deployment.autoscaler.totals.of(killed.id).gone = True

        began = reactor.seconds()
        jobs = [kill(), *(one_by_one() for _ in range(AT_ONCE))]
        await gatherResults([Deferred.fromCoroutine(each) for each in jobs], consumeErrors=True)
        await self.assert_quick(reactor.seconds() - began, 60.0)
        count = Counter(each.how for each in ended)
        wrong = [each for each in ended if each.how not in ("left", "right")]
        # The moment of the kill is known to a few hundredths.
        unharmed = [each for each in wrong if each.over < killed_at or each.began > killed_at + 0.1]
        self.assertEqual(unharmed, [], client.text)
        self.assertEqual(count.total(), REQUESTS)
        self.assertGreater(count["right"], REQUESTS // 2, count)
        self.assertGreater(count["left"], REQUESTS // 10, count)
        asked = [each.url for each in deployment.autoscaler.routes if each.at > killed_at]
        self.assertIn(killed.url, asked, "some were sent to the dead one, and then elsewhere")

        totals = deployment.autoscaler.totals
        alive = totals.of(survivor.id)
        await until(
            lambda: not alive.in_flight and not alive.working_request_idxs and alive.balance(totals.costs).adds_up,
            20,
            f"settled: {deployment.autoscaler.ledger()}",
        )
        # Whoever leaves before the worker has the request is not told finished; nor is what the killed one had to tell.
        last = {idx for idx, workers in totals.assigned.items() if workers[-1] == survivor.id}
        self.assertEqual(totals.twice(), [], "each request is deleted once")
        self.assertLessEqual(set(totals.finished()), set(totals.costs))
        self.assertLessEqual(len(last - set(alive.deletes)), count["left"])
        self.assertLessEqual(len(totals.costs), sum(each.costs for each in wanted_requests), "browsers cost nothing")
        self.assertEqual([str(each) for each in deployment.autoscaler.malformed], [])
        await until(lambda: not deployment.backend.stats.in_progress, 10, "every request ended at the backend")
        self.assert_clean(deployment)
        await until(lambda: self.sockets(client) <= before, IDLE_SECONDS, "every connection closed")
        self.assertEqual(await client.end(reactor), 0, client.text)
