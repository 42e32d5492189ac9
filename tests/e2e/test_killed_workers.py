"""A worker that is killed: before it answers nobody notices, in the middle of an answer it is an error."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from tests.e2e.callers import CallerCase
from tests.e2e.clients import litellm_python, missing, need
from tests.processes import until

MESSAGES = [{"role": "user", "content": "hello"}]
CHAT = {"model": "any", "messages": MESSAGES, "max_tokens": 10}


class KilledWorkerTests(CallerCase):
    async def test_before_the_first_byte(self) -> None:
        """A worker killed while it works on the answer: the call succeeds on another one, under the same index."""
        need("openai")
        stage, client = await self.start_chain(workers=2)
        stage.backend.tokens_per_second = 4.0
        call = self.call("openai_sdk.py", [client.url], {"call": "chat", "arguments": CHAT})
        await until(lambda: stage.backend.stats.in_progress == 1, 30, "the backend works on it")
        killed = self.assigned(stage)
        await stage.kill(killed)
        (result,) = await self.results(call)
        self.assertEqual(result.get("tokens"), 10, f"{result}\n{client.text}")
        stage.autoscaler.books.of(killed.id).gone = True
        (idx,) = stage.autoscaler.books.costs
        other = next(worker for worker in stage.workers if worker is not killed)
        self.assertEqual([each.url for each in stage.autoscaler.routes.of(idx)], [killed.url, other.url])
        self.assertEqual(await self.balanced(stage), {idx: [other.id]})
        self.assertEqual(stage.backend.stats.hang_ups, 1)
        self.assert_clean(stage)

    async def test_in_the_middle(self) -> None:
        """A worker killed in the middle of streams: every SDK raises, none takes what came for the whole."""
        need("openai", "anthropic", "langchain_openai")
        stage, client = await self.start_chain()
        stage.backend.tokens_per_second = 2.0
        announced = {"stream": True, "announce": True}
        asked = {"messages": MESSAGES, "max_tokens": 50}
        options = {"model": "any", "max_tokens": 50}
        jobs: list[tuple[str, dict[str, Any]]] = [
            ("openai_sdk.py", {"call": "chat", "arguments": {"model": "any", **asked}}),
            ("anthropic_sdk.py", {"call": "messages", "arguments": {"model": "any", **asked}}),
            ("langchain_sdk.py", {"text": "hello", "options": options}),
        ]
        calls = [self.call(name, [client.url], {**each, **announced}) for name, each in jobs]
        if not missing("litellm", litellm_python()):
            job = {"arguments": asked, **announced}
            calls.append(self.call("litellm_sdk.py", [client.url], job, python=litellm_python()))
        await gatherResults([Deferred.fromCoroutine(self.until_line(call, "^piece$")) for call in calls])
        await stage.kill(self.assigned(stage), noticed=True)
        results = await gatherResults([Deferred.fromCoroutine(self.results(call)) for call in calls])
        for (result,) in results:
            self.assertIn("raised", result, results)
            self.assertGreater(result["pieces"], 0)
        assigned = stage.autoscaler.books.assigned
        self.assertEqual(list(assigned.values()), [[stage.workers[0].id]] * len(calls), "no answer begins anew")
        await self.balanced(stage, lost=len(calls))
        self.assert_clean(stage)
