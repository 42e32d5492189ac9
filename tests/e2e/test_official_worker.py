"""The worker of the `vastai` package behind our client, in its dialect."""

from __future__ import annotations

import json
import os
from typing import Any

from twisted.internet import reactor

from tests.e2e.callers import CallerCase
from tests.e2e.clients import need
from tests.processes import until
from tests.simulator_support.deployment import ControlledDeployment
from vespa.http.agent import Agent
from vespa.runtime.http_client import BoundedClient, Response
from vespa.simulator.child import Child
from vespa.simulator.launch import free_port

MESSAGES = [{"role": "user", "content": "Schreib etwas: äöü — 你好"}]
CHAT: dict[str, Any] = {"messages": MESSAGES, "model": "noise", "max_tokens": 12, "seed": 1, "temperature": 0}
WORKER_ID = 99


class OfficialWorkerTests(CallerCase):
    async def start_official(self, deployment: ControlledDeployment, backend_url: str) -> Child:
        """Start it with TLS, and wait until the autoscaler holds it for ready: it may say so only after 10 s."""
        folder = self.temporary_folder()
        paths = [os.path.join(folder, name) for name in ("instance.key", "instance.crt")]
        for path, pem in zip(paths, deployment.autoscaler.authority.issue("127.0.0.1"), strict=True):
            with open(path, "wb") as file:
                file.write(pem)
        port = str(free_port())
        environment = {
            "CONTAINER_ID": str(WORKER_ID),
            "MASTER_TOKEN": "master-token",
            "REPORT_ADDR": deployment.autoscaler_url,
            "PUBLIC_IPADDR": "127.0.0.1",
            f"VAST_TCP_PORT_{port}": port,
            "WORKER_PORT": port,
            "WORKER_HTTP_PORT": str(free_port()),
            "USE_SSL": "true",
        }
        deployment.autoscaler.official_workers = True
        worker = self.script("official_worker.py", backend_url, *paths, settings=environment, folder=folder)
        totals = deployment.autoscaler.totals

        def ready() -> bool:
            worker_totals = totals.workers.get(WORKER_ID)
            return worker.exit_code is not None or (
                worker_totals is not None and worker_totals.ready(reactor.seconds(), 30)
            )

        await until(ready, 60, "Vast's own worker is ready")
        self.assertIsNone(worker.exit_code, worker.text)
        return worker

    async def test_sessions(self) -> None:
        """Its sessions serve our client's callers: one assignment for all requests, a 410 when it has ended one."""
        need("vastai")
        deployment = self.deployment()
        await deployment.start_autoscaler()
        await deployment.start_backend()
        worker = await self.start_official(deployment, deployment.backend_url)
        client = await deployment.start_client(dialect="official")
        agent = Agent(reactor, name="proxy")
        self.addCleanup(agent.close)
        http = BoundedClient(agent, reactor)
        body = json.dumps({"messages": MESSAGES, "max_tokens": 4}).encode()

        async def ask(lifetime: str) -> Response:
            fields = {
                "X-Vespa-Session": "run-1",
                "X-Vespa-Session-Lifetime": lifetime,
                "Content-Type": "application/json",
            }
            url = f"{client.url}/v1/chat/completions"
            return await http.request("POST", url, timeout=30.0, body=body, headers=fields)

        for _ in range(3):
            answer = await ask("2")  # after which, and as many for each request, it is over
            self.assertEqual(answer.status, 200, (answer.body, worker.text))
        self.assertEqual(len(deployment.autoscaler.routes), 1)
        totals = deployment.autoscaler.totals
        # It looks for sessions whose time is over every five seconds.
        await until(lambda: totals.finished() == {1: [WORKER_ID]}, 60, "the end of the first session is told")
        answer = await ask("60")
        self.assertEqual((answer.status, json.loads(answer.body)), (410, {"error": "invalid session"}))
        answer = await ask("60")
        self.assertEqual(answer.status, 200, answer.body)
        self.assertEqual(len(deployment.autoscaler.routes), 2)
        client.signal("TERM")
        self.assertEqual(await self.until_exit(client, 20.0), 0, client.text)
        await until(lambda: totals.finished() == {1: [WORKER_ID], 2: [WORKER_ID]}, 30, "both sessions are told")
        self.assert_clean(deployment)

    async def test_serves(self) -> None:
        """Vast's own worker serves our client: SDKs get what they get straight; what it cannot do is said at once."""
        need("vastai", "openai", "xllamacpp")
        llama = await self.start_llama()
        deployment = self.deployment()
        await deployment.start_autoscaler()
        worker = await self.start_official(deployment, llama)
        client = await deployment.start_client(dialect="official", cost_from_tokens=True)
        chat = {"call": "chat", "arguments": {**CHAT, "extra_body": {"ignore_eos": True}}}
        whole, streamed = await self.compare("openai_sdk.py", llama, client, chat, {**chat, "stream": True})
        self.assertEqual((whole["tokens"], streamed["text"]), (12, whole["text"]), worker.text)
        self.assertGreater(streamed["pieces"], 2)
        (models,) = await self.results(self.call("openai_sdk.py", [client.url], {"call": "models"}))
        self.assertIn(models["status"], (405, 501), models)
        self.assertEqual([each.cost for each in deployment.autoscaler.routes], [12.0, 12.0])
        await self.balanced(deployment)
        worker_totals = deployment.autoscaler.totals.of(WORKER_ID)
        self.assertEqual(worker_totals.version, "1.1.0")
        await until(
            lambda: worker_totals.served == 24_000_000 and not worker_totals.in_flight, 60, "it told what it served"
        )
        balance = worker_totals.balance(deployment.autoscaler.totals.costs)
        self.assertEqual((balance.received, balance.served, balance.adds_up), (24.0, 24.0, True))
        self.assert_clean(deployment)
