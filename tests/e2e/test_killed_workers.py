"""A killed worker: before its response the caller notices nothing, within a response it is an error."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from tests.e2e.callers import CallerCase
from tests.e2e.clients import e2e_python, missing, need
from tests.processes import until

MESSAGES = [{"role": "user", "content": "hello"}]
CHAT = {"model": "any", "messages": MESSAGES, "max_tokens": 10}


class KilledWorkerTests(CallerCase):
    async def test_before_the_first_byte(self) -> None:
        """A worker killed while it works on the response: the call succeeds on another one, under the same index."""
        need("openai")
        deployment, client = await self.start_chain(workers=2)
        deployment.backend.tokens_per_second = 4.0
        call = self.call("openai_sdk.py", [client.url], {"call": "chat", "arguments": CHAT})
        await until(lambda: deployment.backend.stats.in_progress == 1, 30, "the backend works on it")
        killed = self.assigned(deployment)
        await deployment.kill(killed)
        (result,) = await self.results(call)
        self.assertEqual(result.get("tokens"), 10, f"{result}\n{client.text}")
        deployment.autoscaler.totals.of(killed.id).gone = True
        (idx,) = deployment.autoscaler.totals.costs
        other = next(worker for worker in deployment.workers if worker is not killed)
        self.assertEqual([each.url for each in deployment.autoscaler.routes.of(idx)], [killed.url, other.url])
        self.assertEqual(await self.balanced(deployment), {idx: [other.id]})
        self.assertEqual(deployment.backend.stats.hang_ups, 1)
        self.assert_clean(deployment)

    async def test_in_the_middle(self) -> None:
        """A worker killed in the middle of streams: every SDK raises, none takes what came for the whole."""
        need("openai", "anthropic", "langchain_openai")
        deployment, client = await self.start_chain()
        deployment.backend.tokens_per_second = 2.0
        announced = {"stream": True, "announce": True}
        # More than all SDKs need to begin, however busy the machine: four minutes.
        asked = {"messages": MESSAGES, "max_tokens": 500}
        options = {"model": "any", "max_tokens": 500}
        jobs: list[tuple[str, dict[str, Any]]] = [
            ("openai_sdk.py", {"call": "chat", "arguments": {"model": "any", **asked}}),
            ("anthropic_sdk.py", {"call": "messages", "arguments": {"model": "any", **asked}}),
            ("langchain_sdk.py", {"text": "hello", "options": options}),
        ]
        calls = [self.call(name, [client.url], {**each, **announced}) for name, each in jobs]
        if not missing("litellm", e2e_python()):
            job = {"arguments": asked, **announced}
            calls.append(self.call("litellm_sdk.py", [client.url], job))
        await gatherResults([Deferred.fromCoroutine(self.until_line(call, "^piece$")) for call in calls])
        await deployment.kill(self.assigned(deployment), noticed=True)
        results = await gatherResults([Deferred.fromCoroutine(self.results(call)) for call in calls])
        for (result,) in results:
            self.assertIn("raised", result, results)
            self.assertGreater(result["pieces"], 0)
        assigned = deployment.autoscaler.totals.assigned
        self.assertEqual(list(assigned.values()), [[deployment.workers[0].id]] * len(calls), "no response begins anew")
        await self.balanced(deployment, lost=len(calls))
        self.assert_clean(deployment)
