"""No worker yet: the call waits, and succeeds."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults

from tests.e2e.callers import CallerCase
from tests.e2e.clients import need

WAIT_SECONDS = 20.0
MESSAGES = [{"role": "user", "content": "hello"}]
CHAT = {"model": "any", "messages": MESSAGES, "max_tokens": 8}


class ScaleFromZeroTests(CallerCase):
    async def test_waits(self) -> None:
        """While there is no worker for 20 s calls wait, under one index each; told of it, streams still parse."""
        need("openai", "anthropic")
        stage, quiet = await self.start_chain()
        telling = await stage.start_client(waiting_pings=True)
        stage.autoscaler.hold(WAIT_SECONDS)
        began = reactor.seconds()
        plain, streamed = {"call": "chat", "arguments": CHAT}, {"call": "chat", "arguments": CHAT, "stream": True}
        message = {"call": "messages", "arguments": CHAT, "stream": True}
        asked = '{"messages": [{"role": "user", "content": "hello"}], "max_tokens": 8, "stream": true}'
        url = telling.url + "/v1/chat/completions"
        curl = self.start(["curl", "-sSN", "--noproxy", "*", "-H", "Content-Type: application/json", "-d", asked, url])
        calls = [
            self.call("openai_sdk.py", [quiet.url], plain),
            self.call("openai_sdk.py", [quiet.url], streamed),
            self.call("openai_sdk.py", [telling.url], streamed),
            self.call("openai_sdk.py", [telling.url], plain),
            self.call("anthropic_sdk.py", [telling.url], message),
        ]
        results = await gatherResults([Deferred.fromCoroutine(self.results(each)) for each in calls])
        self.assertGreater(reactor.seconds() - began, WAIT_SECONDS)
        await self.until_exit(curl)
        texts = {result["text"] for (result,) in results}
        self.assertEqual(len(texts), 1, results)
        comments = [line for line in curl.lines if line.startswith(": waiting for a worker")]
        self.assertGreater(len(comments), 3, curl.text)
        self.assertIn("data: [DONE]", curl.lines)
        self.assertEqual(len(await self.balanced(stage)), len(calls) + 1)
        for idx in stage.autoscaler.books.costs:
            questions = stage.autoscaler.routes.of(idx)
            self.assertEqual({each.request_idx for each in questions[1:]}, {idx}, "the index is kept")
            self.assertLess(len(questions), WAIT_SECONDS, "it is not asked all the time")
        self.assert_clean(stage)
        self.assertIn("waiting for a worker", quiet.text)
