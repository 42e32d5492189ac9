"""Tests of `vespa.simulator.demo_client`."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.resource import IResource

from tests.simulator_support.autoscaler import ControlledAutoscaler
from tests.simulator_support.backend import ControlledBackend
from vespa.simulator.completions import COMPLETION_TEXT, ModelCompletion
from vespa.simulator.demo_client import DemoClient, StreamedWords, Unexpected
from vespa.simulator.serving import serve

CHAT = "/v1/chat/completions"
ASKED = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 5}


class StreamedWordsTests(SynchronousTestCase):
    @given(st.integers(1, 500))
    def test_split(self, size: int) -> None:
        """The words of a stream are the same however it arrives in pieces."""
        stream = b"".join(ModelCompletion("chat", 1, 0, 1, 1000).events(include_usage=True))
        told: list[str] = []
        words = StreamedWords(told.append)
        for start in range(0, len(stream), size):
            words.take(stream[start : start + size])
        self.assertEqual(
            ("".join(told), words.done, words.count), (COMPLETION_TEXT, True, len(COMPLETION_TEXT.split()))
        )


class DemoClientTests(TestCase):
    timeout = 30

    async def setUp(self) -> None:  # type: ignore[override]
        self.autoscaler = ControlledAutoscaler(reactor)
        self.autoscaler_url = await self.serve(self.autoscaler.resource())
        self.backend_url = await self.serve(ControlledBackend(reactor, tokens_per_second=1e6).resource())
        self.client = self.of(self.autoscaler.endpoint_key)

    async def serve(self, resource: IResource) -> str:
        served = await serve(resource, TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1"))
        self.addCleanup(lambda: Deferred.fromCoroutine(served.stop()))
        return served.url

    def of(self, key: str) -> DemoClient:
        return DemoClient(reactor, self.autoscaler_url, self.autoscaler.endpoint, key)

    async def test_whole(self) -> None:
        """A whole response has its text and its times."""
        response = await self.client.send(self.backend_url + CHAT, ASKED)
        self.assertEqual((response.status, response.error_code), (200, ""))
        self.assertTrue(response.said)
        self.assertTrue(COMPLETION_TEXT.startswith(response.said))
        self.assertTrue(0 < response.first_byte_after <= response.seconds)

    async def test_streamed(self) -> None:
        """A stream is told as it comes."""
        told: list[str] = []
        words = StreamedWords(told.append)
        response = await self.client.send(self.backend_url + CHAT, {**ASKED, "stream": True}, words.take)
        self.assertEqual((response.status, words.done, words.count), (200, True, 5))
        self.assertEqual("".join(told).split(), COMPLETION_TEXT.split()[:5])

    async def test_no_body(self) -> None:
        """A response without a body has its first byte at its end."""
        response = await self.client.send(self.backend_url + "/status/204", b"{}")
        self.assertEqual((response.status, response.body), (204, b""))
        self.assertEqual(response.first_byte_after, response.seconds)

    async def test_no_worker(self) -> None:
        """Without a worker, or with a wrong key, there is no assignment, and the error has the response."""
        for client, said in (
            (self.client, "no worker was assigned: 200"),
            (self.of("wrong"), "no worker was assigned: 4"),
        ):
            with self.assertRaisesRegex(Unexpected, said):
                await client.assignment(5.0)

    async def test_assigned(self) -> None:
        """A call goes to the assigned worker, with the assignment and the payload in an envelope."""
        assignment = self.autoscaler.assign(self.backend_url, 5.0)
        response = await self.client.call(assignment, "/echo", ASKED)
        self.assertEqual(response.status, 200)
        sent = json.loads(json.loads(response.body)["body"])
        self.assertEqual(sent["payload"], ASKED)
        self.assertEqual(sent["auth_data"]["signature"], assignment["signature"])
