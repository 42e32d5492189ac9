"""Tests of `vespa.runtime.http_client`."""

from __future__ import annotations

import gzip

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionLost, ConnectionRefusedError
from twisted.internet.error import TimeoutError as ConnectTimeoutError
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseFailed, ResponseNeverReceived
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IResponse
from zope.interface.verify import verifyObject

from tests.fakes import FakeAgent, FakeResponse
from vespa.http.agent import Agent
from vespa.runtime.http_client import BoundedClient, CallError, Response


class FakeTests(SynchronousTestCase):
    def test_interfaces(self) -> None:
        """The fakes provide what Twisted's own provide."""
        verifyObject(IAgent, FakeAgent())
        verifyObject(IResponse, FakeResponse())


class CallTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.agent = FakeAgent()
        self.http = BoundedClient(self.agent, self.clock)

    def call(self, method: str = "GET", body: bytes | None = None, limit: int = 100) -> Deferred[Response]:
        url = "http://a.example/x"
        return Deferred.fromCoroutine(
            self.http.request(method, url, timeout=10.0, body=body, headers={"X-A": "b"}, limit=limit)
        )

    def test_response(self) -> None:
        """The request goes out as given, and the status and body of the response come back, with no timer left."""
        result = self.call("POST", b"{}")
        asked = self.agent.asked[0]
        self.assertEqual((asked.method, asked.url, asked.body), ("POST", "http://a.example/x", b"{}"))
        self.assertEqual(asked.headers.getRawHeaders("x-a"), ["b"])
        asked.answer(503, b"o", b"h")
        answer = self.successResultOf(result)
        self.assertEqual(answer, Response(503, b"oh", True))
        self.assertFalse(answer.success)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_redirect_is_an_response(self) -> None:
        """A redirect is not followed."""
        result = self.call()
        self.agent.asked[0].result.callback(FakeResponse(302, headers=Headers({"Location": ["http://b.example/"]})))
        answer = self.successResultOf(result)
        self.assertEqual((answer.status, answer.location), (302, "http://b.example/"))
        self.assertEqual(len(self.agent.asked), 1)

    def test_no_cookies(self) -> None:
        """A cookie that a response sets is not sent back."""
        self.call()
        self.agent.asked[0].result.callback(FakeResponse(200, headers=Headers({"Set-Cookie": ["a=b"]})))
        self.call()
        self.assertFalse(self.agent.asked[1].headers.hasHeader("Cookie"))

    def test_no_response_in_time(self) -> None:
        """A peer that says nothing is given up at the deadline, its request cancelled."""
        result = self.call()
        self.clock.advance(10.0)
        self.assertTrue(self.failureResultOf(result, CallError).value.timed_out)
        self.assertTrue(self.agent.asked[0].cancelled)

    def test_failures(self) -> None:
        """Any error of an agent becomes a CallError with the innermost cause, and says whether it was a timeout."""
        wrapped = ResponseNeverReceived([Failure(ResponseFailed([Failure(ConnectionLost("cable"))]))])
        for error, timed_out, text in (
            (ConnectionRefusedError(), False, "Connection was refused"),
            (ConnectTimeoutError(), True, "timeout"),
            (wrapped, False, "cable"),
            (KeyError(), False, "KeyError"),
            (CancelledError(), False, "CancelledError"),
        ):
            result = self.call()
            self.agent.asked[-1].fail(error)
            value = self.failureResultOf(result, CallError).value
            self.assertIs(value.timed_out, timed_out)
            self.assertIn(text, str(value))

    def test_bad_url(self) -> None:
        """A URL that cannot be asked is a CallError too."""
        http = BoundedClient(Agent(self.clock), self.clock)
        for url in ("http://[", "nowhere", "http://a b/", "http://é/"):
            self.failureResultOf(Deferred.fromCoroutine(http.request("GET", url, timeout=1.0)), CallError)

    def test_ipv6(self) -> None:
        """An address in brackets is asked like any other."""
        Deferred.fromCoroutine(self.http.request("GET", "http://[::1]:8000/health", timeout=1.0))
        self.assertEqual(self.agent.urls, ["http://[::1]:8000/health"])

    def test_long_body(self) -> None:
        """No more than the limit is kept of a body, and its connection is aborted."""
        result = self.call(limit=10)
        response = FakeResponse(200, b"x" * 8, b"y" * 8, b"z" * 8)
        self.agent.asked[0].result.callback(response)
        self.assertEqual(self.successResultOf(result), Response(200, b"x" * 8 + b"yy", False))
        self.assertTrue(response.transport.aborted)

    def test_exactly_the_limit(self) -> None:
        """A body as long as the limit is whole."""
        result = self.call(limit=8)
        response = self.agent.asked[0].answer(200, b"x" * 8)
        self.assertEqual(self.successResultOf(result), Response(200, b"x" * 8, True))
        self.assertFalse(response.transport.aborted)

    def test_broken_body(self) -> None:
        """A body that breaks off is not whole; the status stands. One delimited by the connection's end is whole."""
        for end, whole in ((ResponseFailed([]), False), (PotentialDataLoss(), True)):
            result = self.call()
            self.agent.asked[-1].result.callback(FakeResponse(200, b"ab", end=end))
            self.assertEqual(self.successResultOf(result), Response(200, b"ab", whole))

    def test_endless_body(self) -> None:
        """A body that does not end is given up at the same deadline, its connection aborted; the status stands."""
        result = self.call()
        response = FakeResponse(204, b"ab", end=None)
        self.clock.advance(6.0)
        self.agent.asked[0].result.callback(response)
        self.clock.advance(3.9)
        self.assertNoResult(result)
        self.clock.advance(0.1)
        self.assertEqual(self.successResultOf(result), Response(204, b"", False))
        self.assertTrue(response.transport.aborted)

    def test_decoded_body_is_bounded(self) -> None:
        """The limit holds for what a compressed body unpacks to."""
        result = self.call(limit=1000)
        packed = gzip.compress(bytes(1_000_000))
        self.agent.asked[0].result.callback(FakeResponse(200, packed, headers=Headers({"Content-Encoding": ["gzip"]})))
        answer = self.successResultOf(result)
        self.assertEqual((len(answer.body), answer.whole), (1000, False))

    def test_cancel(self) -> None:
        """A cancelled call cancels its request and ends as cancelled, before the head and after it."""
        result = self.call()
        result.cancel()
        self.failureResultOf(result, CancelledError)
        self.assertTrue(self.agent.asked[0].cancelled)
        result = self.call()
        response = FakeResponse(200, end=None)
        self.agent.asked[1].result.callback(response)
        result.cancel()
        self.failureResultOf(result, CancelledError)
        self.assertTrue(response.transport.aborted)
        self.assertEqual(self.clock.getDelayedCalls(), [])
