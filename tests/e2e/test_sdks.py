"""Other people's SDKs through client and worker, with TLS between the two, to llama.cpp: as straight at it."""

from __future__ import annotations

from typing import Any

from tests.e2e.callers import CallerCase
from tests.e2e.clients import need

MESSAGES = [{"role": "user", "content": "Schreib etwas: äöü — 你好"}]
NOISE = {"max_tokens": 12, "seed": 1, "temperature": 0}
SAMPLING: dict[str, Any] = {"model": "noise", **NOISE, "extra_body": {"ignore_eos": True}}
# Anthropic's client knows no temperature any more; llama.cpp does.
ANTHROPIC: dict[str, Any] = {
    "model": "noise",
    "messages": MESSAGES,
    "max_tokens": 12,
    "extra_body": {"temperature": 0, "seed": 1},
}


class SDKTests(CallerCase):
    def setUp(self) -> None:
        need("xllamacpp")

    async def served(self, name: str, *requests: dict[str, Any], python: str = "") -> list[dict[str, Any]]:
        """The results of a job through both proxies; the totals add up, and nothing was said that should not be."""
        llama = await self.start_llama()
        deployment, client = await self.start_chain(backend_url=llama)
        self.assertTrue(deployment.workers[-1].url.startswith("https://"))
        results = await self.compare(name, llama, client, *requests, python=python)
        self.assertEqual(len(await self.balanced(deployment)), len(deployment.autoscaler.routes), "one question each")
        self.assert_clean(deployment)
        self.assertEqual(await deployment.stop(), 0, client.text)
        return results

    async def test_openai(self) -> None:
        """OpenAI's client: chat, text and responses, whole and streamed, models; an error is passed on as it is."""
        need("openai")
        chat = {"call": "chat", "arguments": {"messages": MESSAGES, **SAMPLING}}
        text = {"call": "text", "arguments": {"prompt": "Once", **SAMPLING}}
        response = {
            "call": "responses",
            "arguments": {"model": "noise", "input": "Once", "max_output_tokens": 12, "temperature": 0},
        }
        asked = [{**each, "stream": stream} for each in (chat, text, response) for stream in (False, True)]
        asked += [{"call": "models"}, {"call": "embeddings", "arguments": {"model": "noise", "input": "Once"}}]
        *spoken, models, embeddings = await self.served("openai_sdk.py", *asked)
        for whole, streamed in zip(spoken[::2], spoken[1::2], strict=True):
            self.assertEqual((whole["tokens"], streamed["text"]), (12, whole["text"]))
            self.assertGreater(streamed["pieces"], 2)
        self.assertEqual(models, {"models": ["noise"]})
        self.assertEqual((embeddings["status"], embeddings["error"]["type"]), (501, "not_supported_error"))

    async def test_anthropic(self) -> None:
        """Anthropic's client: messages, whole and streamed, the count of tokens; an error is passed on as it is."""
        need("anthropic")
        asked = {"call": "messages", "arguments": ANTHROPIC}
        wrong = {"call": "messages", "arguments": {**ANTHROPIC, "messages": [{"role": "nobody"}]}}
        count = {"call": "count", "arguments": {"model": "noise", "messages": MESSAGES}}
        whole, streamed, counted, refused = await self.served(
            "anthropic_sdk.py", asked, {**asked, "stream": True}, count, wrong
        )
        self.assertEqual((whole["tokens"], whole["stop_reason"]), (12, "max_tokens"))
        self.assertEqual(streamed["text"], whole["text"])
        self.assertGreater(streamed["pieces"], 2)
        self.assertGreater(counted["tokens"], 10)
        self.assertGreaterEqual(refused["status"], 400)

    async def test_langchain(self) -> None:
        """LangChain's model: invoke and stream, in both colours."""
        need("langchain_openai")
        asked = {"text": "Schreib etwas: äöü — 你好", "options": {"model": "noise", **NOISE}}
        whole, streamed, awaited, iterated = await self.served(
            "langchain_sdk.py",
            *[{**asked, "stream": stream, "async": colour} for colour in (False, True) for stream in (False, True)],
        )
        self.assertEqual((whole["tokens"], streamed["text"]), (12, whole["text"]))
        self.assertGreater(streamed["pieces"], 2)
        self.assertEqual((awaited, iterated), (whole, streamed))

    async def test_litellm(self) -> None:
        """LiteLLM: completion, whole and streamed, over OpenAI's API and over Anthropic's."""
        need("litellm")
        asked = {"arguments": {"messages": MESSAGES, **NOISE}}
        other = {"arguments": {"messages": MESSAGES, "max_tokens": 12, "temperature": 0}, "provider": "anthropic"}
        results = await self.served(
            "litellm_sdk.py",
            *[{**each, "stream": stream} for each in (asked, other) for stream in (False, True)],
        )
        for whole, streamed in (results[:2], results[2:]):
            self.assertEqual((whole["tokens"], streamed["text"]), (12, whole["text"]))
            self.assertGreater(streamed["pieces"], 2)
