"""A worker that is killed: before it answers nobody notices, in the middle of an answer it is an error."""

from __future__ import annotations

from twisted.internet.defer import Deferred, gatherResults

from tests.e2e.callers import CallerCase
from tests.e2e.clients import need
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
        announced = {"stream": True, "announce": True}
        options = {"model": "any", "max_tokens": 40}
        calls = [
            self.call("openai_sdk.py", [client.url], {"call": "chat", "arguments": CHAT, **announced}),
            self.call("anthropic_sdk.py", [client.url], {"call": "messages", "arguments": CHAT, **announced}),
            self.call("langchain_sdk.py", [client.url], {"text": "hello", "options": options, **announced}),
        ]
        stage.backend.tokens_per_second = 2.0
        await gatherResults([Deferred.fromCoroutine(self.until_line(call, "^piece$")) for call in calls])
        await stage.kill(self.assigned(stage), noticed=True)
        results = await gatherResults([Deferred.fromCoroutine(self.results(call)) for call in calls])
        for (result,) in results:
            self.assertIn("raised", result, results)
            self.assertNotIn("status", result, "the answer had begun")
            self.assertGreater(result["pieces"], 0)
        self.assertEqual([len(stage.autoscaler.routes.of(idx)) for idx in stage.autoscaler.books.costs], [1, 1, 1])
        await self.balanced(stage, lost=3)
        self.assert_clean(stage)
