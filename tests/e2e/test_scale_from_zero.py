"""No worker yet: the call waits, and succeeds."""

from __future__ import annotations

import json
import os
from random import Random

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults

from tests.e2e.callers import CallerCase
from tests.e2e.clients import need
from tests.processes import until

WAIT_SECONDS = 12.0
"""After all calls have asked for a worker."""
HOUR = 3600.0
UPLOAD_BYTES = 3_000_000
MESSAGES = [{"role": "user", "content": "hello"}]
CHAT = {"model": "any", "messages": MESSAGES, "max_tokens": 8}


class ScaleFromZeroTests(CallerCase):
    async def test_waits(self) -> None:
        """While there is no worker calls wait, under one index each; told of it, streams still parse."""
        need("openai", "anthropic", "websockets")
        deployment, quiet = await self.start_chain()
        telling = await deployment.start_client(waiting_pings=True)
        deployment.autoscaler.hold(HOUR)
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
        sound = os.path.join(self.temporary_folder(), "sound.wav")
        with open(sound, "wb") as file:
            file.write(Random(1).randbytes(UPLOAD_BYTES))
        upload = self.start(["curl", "-sS", "--noproxy", "*", "-T", sound, quiet.url + "/upload"])
        socket = self.call("websocket_sdk.py", [quiet.url], {"path": "/ws", "sizes": [1000]})
        ended = gatherResults([Deferred.fromCoroutine(self.results(each)) for each in calls])
        routes = deployment.autoscaler.routes
        began = reactor.seconds()
        await until(lambda: len({each.answered_idx for each in routes}) == len(calls) + 3, what="all wait")
        deployment.autoscaler.hold(WAIT_SECONDS)
        results = await ended
        waited = reactor.seconds() - began
        self.assertGreater(waited, WAIT_SECONDS)
        for each in (curl, upload):
            self.assertEqual(await self.until_exit(each), 0, each.text)
        self.assertEqual(json.loads(upload.text)["length"], UPLOAD_BYTES)
        self.assertEqual(await self.results(socket), [{"same": 2, "close_code": 1000}])
        texts = {result["text"] for (result,) in results}
        self.assertEqual(len(texts), 1, results)
        comments = [line for line in curl.lines if line.startswith(": waiting for a worker")]
        self.assertGreater(len(comments), 3, curl.text)
        self.assertIn("data: [DONE]", curl.lines)
        self.assertEqual(len(await self.balanced(deployment)), len(calls) + 3)
        for idx in deployment.autoscaler.totals.costs:
            questions = deployment.autoscaler.routes.of(idx)
            self.assertEqual({each.request_idx for each in questions[1:]}, {idx}, "the index is kept")
            self.assertLess(len(questions), waited, "it is not asked all the time")
        self.assert_clean(deployment)
        self.assertIn("waiting for a worker", quiet.text)

    async def test_autoscaler_fails(self) -> None:
        """An autoscaler that answers with errors, says it is too much or hangs up is asked again."""
        need("openai")
        deployment, client = await self.start_chain()
        faults = deployment.autoscaler.faults
        for status in (500, 429):
            faults.plan("refuse", 2, status=status, paths={"/route/"})
        faults.plan("drop", 2, paths={"/route/"})
        call = self.call("openai_sdk.py", [client.url], {"call": "chat", "arguments": CHAT})
        (result,) = await self.results(call)
        self.assertEqual(result.get("tokens"), 8, f"{result}\n{client.text}")
        self.assertEqual(faults.met, 6)
        await self.balanced(deployment)
        self.assert_clean(deployment)
