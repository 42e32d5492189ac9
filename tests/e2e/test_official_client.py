"""Vast's own client, through the simulated autoscaler and the worker, to llama.cpp."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from tests.e2e.clients import ServiceCase, need
from tests.simulator_support.deployment import ControlledDeployment
from vespa.simulator.signing import Signs

CHAT = "/v1/chat/completions"
MESSAGES = [{"role": "user", "content": "Say anything."}]


def chat(tokens: int = 16, **more: Any) -> dict[str, Any]:
    payload = {"messages": MESSAGES, "max_tokens": tokens, "ignore_eos": True, "seed": 1, "temperature": 0}
    stream = more.get("stream", False)
    return {"route": CHAT, "payload": {**payload, "stream": stream}, "cost": tokens, **more}


def content(events: list[dict[str, Any]]) -> str:
    return "".join(event["choices"][0]["delta"].get("content") or "" for event in events if event["choices"])


class OfficialClientTests(ServiceCase):
    def setUp(self) -> None:
        need("vastai", "xllamacpp")

    async def send(self, deployment: ControlledDeployment, *requests: dict[str, Any]) -> list[dict[str, Any]]:
        autoscaler = deployment.autoscaler
        job = {
            "console": deployment.autoscaler_url,
            "autoscaler": deployment.autoscaler_url,
            "root": deployment.autoscaler_url + "/static/jvastai_root.cer",
            "account_key": autoscaler.account_key,
            "endpoint": autoscaler.endpoint,
            "requests": list(requests),
        }
        return await self.run_script("official_client.py", job)

    async def serves(self, signs: Signs, **settings: Any) -> None:
        deployment = await self.start_service(await self.start_llama(), **settings)
        deployment.autoscaler.signs = signs
        plain, streamed, wrong = await self.send(
            deployment, chat(16), chat(16, stream=True), {"route": "/nowhere", "payload": {}, "cost": 5}
        )
        self.assertTrue(plain["ok"], plain)
        self.assertEqual(plain["response"]["usage"]["completion_tokens"], 16)
        self.assertTrue(streamed["ok"], streamed)
        self.assertGreater(len(streamed["events"]), 2)
        self.assertEqual(content(streamed["events"]), plain["response"]["choices"][0]["message"]["content"])
        self.assertEqual(wrong["status"], 404, "llama.cpp's own response is passed on")
        totals = await self.settled(deployment, 3)
        self.assertEqual(sorted(totals["deletes"]), [str(each["request_idx"]) for each in (plain, streamed, wrong)])
        self.assertEqual((totals["duplicates"], totals["unknown"], totals["received"]), ([], [], 37.0))
        assert deployment.worker is not None
        self.assert_clean_log(deployment.worker)

    async def test_url(self) -> None:
        """Assignments that sign the URL alone are served, plain and streamed, and the totals add up."""
        await self.serves("url", VESPA_SIGNATURE="url")

    async def test_full(self) -> None:
        """Assignments that sign all fields are served, plain and streamed, and the totals add up."""
        await self.serves("full", VESPA_SIGNATURE="full")

    async def test_tls(self) -> None:
        """Over TLS, with a certificate that names the worker's address, the same client is served the same."""
        deployment = self.deployment()
        await deployment.start_autoscaler()
        deployment.backend_url = await self.start_llama()
        await self.start_worker(deployment, tls=True)
        self.assertTrue(deployment.workers[-1].url.startswith("https://"))
        plain, streamed = await self.send(deployment, chat(16), chat(16, stream=True))
        self.assertEqual(content(streamed["events"]), plain["response"]["choices"][0]["message"]["content"])
        await self.settled(deployment, 2)

    async def test_waits_for_a_worker(self) -> None:
        """A request that comes before the worker is ready waits at the autoscaler, and is then served."""
        deployment = self.deployment()
        await deployment.start_autoscaler()
        deployment.backend_url = await self.start_llama()
        starting = self.start_worker(deployment)
        sending = self.send(deployment, chat(8))
        both: list[Deferred[Any]] = [Deferred.fromCoroutine(starting), Deferred.fromCoroutine(sending)]
        _, results = await gatherResults(both)
        self.assertTrue(results[0]["ok"], results)

    async def test_leaves_a_stream(self) -> None:
        """A client that leaves in the middle of a stream is cancelled at the backend, and booked as cancelled."""
        deployment = await self.start_service()
        deployment.backend.tokens_per_second = 5.0
        asked = {"messages": MESSAGES, "stream": True}
        (left,) = await self.send(
            deployment, {"route": CHAT, "payload": asked, "cost": 50, "stream": True, "leave_after": 3}
        )
        self.assertEqual(len(left["events"]), 3)
        totals = await self.settled(deployment, 1)
        self.assertEqual(totals["deletes"], {str(left["request_idx"]): ["Cancelled"]})
        self.assertEqual((totals["served"], totals["failed"], totals["cancelled"]), (0.0, 0.0, 50.0))
        await deployment.until(lambda: deployment.backend.stats.hang_ups == 1, 10.0, "cancelled at the backend")
