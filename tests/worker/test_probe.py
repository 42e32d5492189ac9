"""Tests of `vespa.worker.probe`."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.fakes import FakeAgent, FakeResponse
from vespa.http.connection import UpstreamError
from vespa.net.calls import plain_client
from vespa.worker.probe import HealthProbe, ProbeError


class ProbeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.agent = FakeAgent()
        self.probe = HealthProbe(plain_client(self.agent), "http://127.0.0.1:1/health", self.clock, timeout=10.0)

    def run_probe(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.probe())

    def test_request(self) -> None:
        """A probe is a GET that asks for its connection to be closed."""
        self.run_probe()
        asked = self.agent.asked[0]
        self.assertEqual((asked.method, asked.url, asked.body), ("GET", "http://127.0.0.1:1/health", None))
        self.assertEqual(asked.headers.getRawHeaders("connection"), ["close"])

    def test_authorization(self) -> None:
        """A backend that wants a key is probed with it; without one there is no such field."""
        self.run_probe()
        self.assertFalse(self.agent.asked[0].headers.hasHeader("authorization"))
        client = plain_client(self.agent)
        self.probe = HealthProbe(client, "http://a/health", self.clock, timeout=10.0, authorization="Bearer k")
        self.run_probe()
        self.assertEqual(self.agent.asked[1].headers.getRawHeaders("authorization"), ["Bearer k"])

    def test_statuses(self) -> None:
        """Any 2xx is health; any other status, redirects too, is not, and is named."""
        for status in (200, 204, 299):
            result = self.run_probe()
            self.agent.asked[-1].answer(status, b"ok")
            self.successResultOf(result)
        for status in (199, 302, 404, 503):
            result = self.run_probe()
            self.agent.asked[-1].answer(status)
            self.assertIn(str(status), str(self.failureResultOf(result, ProbeError).value))

    def test_no_answer(self) -> None:
        """A backend that is not there, or says nothing, is not well."""
        result = self.run_probe()
        self.agent.asked[-1].fail(ConnectionRefusedError())
        self.assertIn("refused", str(self.failureResultOf(result, ProbeError).value))
        result = self.run_probe()
        self.clock.advance(10.0)
        self.assertIn("10 s", str(self.failureResultOf(result, ProbeError).value))

    def test_refused(self) -> None:
        """Only where nobody listens is the connection called refused."""
        for error, refused in (
            (UpstreamError("backend_unreachable", "could not connect", silent=True, refused=True), True),
            (UpstreamError("no_reply", "closed", silent=True), False),
        ):
            result = self.run_probe()
            self.agent.asked[-1].fail(error)
            self.assertIs(self.failureResultOf(result, ProbeError).value.refused, refused)

    def test_long_body(self) -> None:
        """However much a healthy backend has to say, it is not read."""
        result = self.run_probe()
        response = FakeResponse(200, bytes(70000), end=None)
        self.agent.asked[0].result.callback(response)
        self.successResultOf(result)
        self.assertTrue(response.transport.aborted)

    def test_cancel(self) -> None:
        """A cancelled probe cancels its request."""
        result = self.run_probe()
        result.cancel()
        self.failureResultOf(result, CancelledError)
        self.assertTrue(self.agent.asked[0].cancelled)
        self.assertEqual(self.clock.getDelayedCalls(), [])
