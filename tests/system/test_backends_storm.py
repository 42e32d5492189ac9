"""Requests, sessions, jobs, polls and hang-ups at once, before backends that are killed and come back."""

from __future__ import annotations

import json
import random
import sys
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from tests.processes import until
from tests.system.peer import Peer, request
from tests.system.test_admin_port import ANY_PORT, AdminPortCase
from vespa.simulator.child import Child
from vespa.simulator.comfyui_workflow import workflow

SECONDS = 8.0
CALLERS = 10
GAUGES = ("load", "requests_in_flight", "requests_queued", "jobs", "aborts", "sessions", "session_load", "tunnels")
GAUGES_OF_A_BACKEND = ("load", "requests_in_flight", "tunnels")
SETTINGS = {
    "VESPA_ADMIN_LISTEN": ANY_PORT,
    "VESPA_ALLOW_PARALLEL": "false",
    "VESPA_HEALTHCHECK_ENDPOINT": "/system_stats",
    "VESPA_HEALTHCHECK_POLL_INTERVAL": "0.3",
    "VESPA_HTTP_PORT": "off",
    "VESPA_JOBS": "comfyui",
    "VESPA_JOB_POLL_INTERVAL": "0.1",
    "VESPA_JOB_TIMEOUT": "6",
    "VESPA_ABORT": "comfyui",
    "VESPA_ABORT_TIMEOUT": "3",
    "VESPA_MAX_WAIT_TIME": "1000",
    "VESPA_QUEUE_PINGS": "true",
    "VESPA_RECALIBRATE": "true",
    "VESPA_SERVER_TIMING": "true",
    "VESPA_STREAM_ERRORS": "true",
    "VESPA_USAGE": "openai",
}
CALLBACK = {"lifetime": 4, "on_close_route": "/free"}


class StormTests(AdminPortCase):
    async def start_one(self, port: str = "0") -> tuple[Child, str]:
        """Start a stand-in of ComfyUI; its process, and its port."""
        child = self.start([sys.executable, "-m", "vespa.simulator.comfyui_process", port, "0.05"])
        return child, (await self.until_line(child, r"comfyui: http://\S+:(\d+)"))[1]

    async def result(self, peer: Peer) -> tuple[int, Any]:
        """Status and JSON of the response."""
        response = await peer.answer()
        try:
            return response.status, json.loads(bytes(response.body))
        except ValueError:  # comments of the queue
            return response.status, None

    async def caller(self) -> None:
        while not self.over:
            auth, steps = self.assign(), self.random.choice((1, 4, 30))
            kind = self.random.choice(("job", "job", "hang up", "session", "tunnel"))
            try:
                await {"job": self.job, "hang up": self.leave, "session": self.session, "tunnel": self.tunnel}[kind](
                    auth, {"prompt": workflow(steps)}
                )
            except AssertionError:  # the connection was lost
                self.broken += 1
            await deferLater(reactor, 0.1 * self.random.random())

    async def job(self, auth: dict[str, Any], prompt: dict[str, Any]) -> None:
        status, answer = await self.result((await self.call("/prompt", prompt, auth=auth))[0])
        for _ in range(self.random.randrange(10) if status == 200 and answer else 0):
            await self.result((await self.ask("GET", f"/history/{answer['prompt_id']}", auth=auth))[0])

    async def leave(self, auth: dict[str, Any], prompt: dict[str, Any]) -> None:
        peer, _ = await self.call("/prompt", prompt, auth=auth)
        await deferLater(reactor, 0.1 * self.random.random())
        peer.cut()

    async def session(self, auth: dict[str, Any], prompt: dict[str, Any]) -> None:
        status, answer = await self.result((await self.call("/session/create", CALLBACK, auth=auth))[0])
        if status != 201:
            return
        session_id = answer["session_id"]
        self.secrets.append(session_id)
        inside = {"auth_data": auth, "session_id": session_id, "payload": prompt}
        for _ in range(self.random.randrange(5)):
            peer = await self.connect()
            peer.send(request("POST", "/prompt", json.dumps(inside).encode()))
            if self.random.random() < 0.3:
                await deferLater(reactor, 0.1 * self.random.random())
                peer.cut()
            else:
                await self.result(peer)
        if self.random.random() < 0.7:
            peer = await self.connect()
            named = {"session_id": session_id, "session_auth": auth}
            peer.send(request("POST", "/session/end", json.dumps(named).encode()))
            await self.result(peer)

    async def tunnel(self, auth: dict[str, Any], prompt: dict[str, Any]) -> None:
        upgrade = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")
        key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
        peer, _ = await self.ask("GET", "/ws?clientId=a", None, *upgrade, key, auth=auth)
        await deferLater(reactor, self.random.random())
        peer.cut()

    async def kill(self) -> None:
        """Kill one after the other, and start it again."""
        while not self.over:
            await deferLater(reactor, 0.5 + self.random.random())
            which = self.random.randrange(len(self.backends))
            child, port = self.backends[which]
            child.signal("KILL")
            await child.exited()
            await deferLater(reactor, self.random.random())
            self.backends[which] = await self.start_one(port)
            self.kills += 1

    def idle(self, document: dict[str, Any]) -> bool:
        """Whether nothing is under way, and each backend is known to be back."""
        return not any(document[name] for name in GAUGES) and all(
            row["state"] == "ready" and not any(row[name] for name in GAUGES_OF_A_BACKEND)
            for row in document["backends"]
        )

    async def test_all_at_once(self) -> None:
        """After the storm nothing is in flight, every slot serves again, and no session's id is to be seen."""
        self.random, self.over, self.broken, self.kills = random.Random(1), False, 0, 0
        self.secrets: list[str] = []
        self.backends = [await self.start_one() for _ in range(3)]
        self.backend_url = ",".join(f"http://127.0.0.1:{port}" for _, port in self.backends)
        worker = await self.start_worker(**SETTINGS)
        admin = await self.admin_port(worker)
        killing = Deferred.fromCoroutine(self.kill())
        calling = [Deferred.fromCoroutine(self.caller()) for _ in range(CALLERS)]
        await deferLater(reactor, SECONDS)
        # On a busy machine it takes longer until enough has happened.
        await until(lambda: self.kills > 1 and len(self.secrets) > 3, what="two kills and four sessions")
        self.over = True
        await gatherResults([killing, *calling], consumeErrors=True)
        document = await self.until_status(admin, self.idle)
        await self.until_worker(worker, lambda: self.reports[-1].cur_load == 0.0, "no load is reported")
        await self.until_worker(worker, lambda: self.worker_totals.in_flight == 0, "the end of each is told")
        self.assertEqual((self.worker_totals.duplicates, self.autoscaler.malformed), ([], []))
        self.assertGreater(self.kills, 1)
        self.assertGreater(document["sessions_opened_total"], 3)
        for _ in range(2 * len(self.backends)):
            status, answer = await self.result((await self.call("/prompt", {"prompt": workflow(1)}))[0])
            self.assertEqual(status, 200, answer)
        shown = worker.text + json.dumps(document) + (await self.get(admin, "/metrics")).body.decode()
        self.assertEqual([secret for secret in self.secrets if secret in shown], [])
        await self.end_well(worker)
