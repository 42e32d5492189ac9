"""OpenAI's client, signed by a shim, through the worker to llama.cpp."""

from __future__ import annotations

from typing import Any

from tests.e2e.clients import ServiceCase, need
from vespa.simulator.signing import Signs

SAMPLING = {"max_tokens": 16, "seed": 1, "temperature": 0, "extra_body": {"ignore_eos": True}}
CHAT: dict[str, Any] = {
    "model": "noise",
    "messages": [{"role": "user", "content": "Schreib etwas: äöü — 你好"}],
    **SAMPLING,
}
TEXT: dict[str, Any] = {"model": "noise", "prompt": "Once upon a time", **SAMPLING}


class OpenAIClientTests(ServiceCase):
    def setUp(self) -> None:
        need("openai", "xllamacpp")

    async def serves(self, signs: Signs) -> None:
        deployment = await self.start_service(await self.start_llama())
        deployment.autoscaler.signs = signs
        requests = [
            {"call": "chat", "arguments": CHAT},
            {"call": "chat", "stream": True, "arguments": CHAT},
            {"call": "text", "arguments": TEXT},
            {"call": "text", "stream": True, "arguments": TEXT},
            {"call": "models"},
            {"call": "chat", "arguments": {**CHAT, "messages": "none"}},
        ]
        job = {
            "autoscaler": deployment.autoscaler_url,
            "endpoint": deployment.autoscaler.endpoint,
            "endpoint_key": deployment.autoscaler.endpoint_key,
            "requests": requests,
        }
        chat, streamed_chat, text, streamed_text, models, wrong = await self.run_script("openai_client.py", job)
        self.assertEqual((chat["tokens"], text["tokens"]), (16, 16))
        self.assertEqual(streamed_chat["text"], chat["text"])
        self.assertEqual(streamed_text["text"], text["text"])
        self.assertGreater(min(streamed_chat["pieces"], streamed_text["pieces"]), 2)
        self.assertEqual(models["models"], ["noise"])
        self.assertIn(wrong["status"], (400, 500), wrong)
        totals = await self.settled(deployment, 6)
        self.assertEqual((totals["duplicates"], totals["received"], len(totals["deletes"])), ([], 600.0, 6))
        assert deployment.worker is not None
        self.assert_clean_log(deployment.worker)

    async def test_url(self) -> None:
        """Chat, text and models, whole and streamed, are served under a signature of the URL alone."""
        await self.serves("url")

    async def test_full(self) -> None:
        """Chat, text and models, whole and streamed, are served under a signature of all fields."""
        await self.serves("full")
