"""A backend that dies in the middle of a stream: what OpenAI's and Anthropic's clients raise."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol

from tests.e2e.callers import CallerCase
from tests.e2e.clients import need

STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
CHAT: dict[str, Any] = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "any"}
MESSAGE: dict[str, Any] = {"id": "m", "type": "message", "role": "assistant", "model": "any", "content": []}
USAGE = {"input_tokens": 1, "output_tokens": 1}
ASKED: dict[str, Any] = {"model": "any", "max_tokens": 12, "messages": [{"role": "user", "content": "x"}]}


def chunk(*lines: str) -> bytes:
    """One event in a chunk of its own."""
    event = "\n".join(lines).encode() + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(event), event)


def chat() -> bytes:
    """The beginning of a stream of OpenAI's."""
    choice = {"index": 0, "delta": {"role": "assistant", "content": "hello"}, "finish_reason": None}
    return STREAM + chunk("data: " + json.dumps({**CHAT, "choices": [choice]}))


def messages() -> bytes:
    """The beginning of a stream of Anthropic's."""
    events: tuple[dict[str, Any], ...] = (
        {"type": "message_start", "message": {**MESSAGE, "usage": USAGE}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hello"}},
    )
    return STREAM + b"".join(chunk(f"event: {event['type']}", "data: " + json.dumps(event)) for event in events)


class Dying(Protocol):
    """A model server that answers a benchmark and checks of its health, and breaks every stream after a word."""

    def connectionMade(self) -> None:
        self.received = b""

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        head, end, body = self.received.partition(b"\r\n\r\n")
        if not end or (head.startswith(b"POST") and not body.endswith(b"}")):
            return
        transport: Any = self.transport
        if b'"stream"' not in body:
            transport.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}")
        else:
            transport.write(messages() if b"/v1/messages" in head else chat())
        transport.loseConnection()


class StreamErrorTests(CallerCase):
    async def broken(self, name: str, call: str, *, worker: bool, client: bool) -> dict[str, Any]:
        """What an SDK makes of a broken stream, with the setting on at worker and client or not."""
        need(name.partition("_")[0])
        endpoint = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
        port = await endpoint.listen(Factory.forProtocol(Dying))
        self.addCleanup(port.stopListening)
        deployment, proxy = await self.start_chain(
            backend_url=f"http://127.0.0.1:{port.getHost().port}",
            settings={"VESPA_STREAM_ERRORS": str(worker).lower()},
            stream_errors=client,
        )
        asked = {"call": call, "stream": True, "arguments": ASKED}
        (result,) = await self.results(self.call(name, [proxy.url], asked))
        await self.balanced(deployment)
        self.assertEqual(await deployment.stop(), 0)
        return result

    def assert_raised(self, result: dict[str, Any], message: str) -> None:
        self.assertEqual(result["pieces"], 1, result)
        self.assertIn(message, result["message"])
        self.assertIn("Error", result["raised"])

    async def test_openai(self) -> None:
        """OpenAI's client raises the worker's error, or the client's of a worker that sends none."""
        for worker, client in ((True, False), (True, True), (False, True)):
            message = "the backend closed its connection" if worker else "the connection to the worker was lost"
            self.assert_raised(await self.broken("openai_sdk.py", "chat", worker=worker, client=client), message)

    async def test_anthropic(self) -> None:
        """So does Anthropic's."""
        result = await self.broken("anthropic_sdk.py", "messages", worker=True, client=False)
        self.assert_raised(result, "the backend closed its connection")
