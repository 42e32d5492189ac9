"""Tests of `vespa.worker.readiness.health_probe`."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionRefusedError, DNSLookupError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from tests.fakes import FakeAgent, FakeResponse
from vespa.http.interfaces import UpstreamError
from vespa.runtime.http_client import BoundedClient, Response
from vespa.worker.readiness.health_probe import HealthProbe, ProbeError


class ProbeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.agent = FakeAgent()
        self.probe = HealthProbe(BoundedClient(self.agent, self.clock), "http://127.0.0.1:1/health", timeout=10.0)

    def run_probe(self) -> Deferred[Response]:
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
        client = BoundedClient(self.agent, self.clock, {"Authorization": "Bearer k"})
        self.probe = HealthProbe(client, "http://a/health", timeout=10.0)
        self.run_probe()
        self.assertEqual(self.agent.asked[1].headers.getRawHeaders("authorization"), ["Bearer k"])

    def test_statuses(self) -> None:
        """Any 2xx is health; any other status, redirects too, is not, and is named."""
        for status in (200, 204, 299):
            result = self.run_probe()
            self.agent.asked[-1].answer(status, b"ok")
            self.assertEqual(self.successResultOf(result).status, status)
        for status in (199, 302, 405, 503):
            result = self.run_probe()
            self.agent.asked[-1].answer(status)
            error = self.failureResultOf(result, ProbeError).value
            self.assertIn(str(status), error.why)
            self.assertEqual((error.status, str(error)), (status, f"{error.why}: {error.advice}"))

    def test_no_response(self) -> None:
        """A backend that is not there, or says nothing, is not well."""
        result = self.run_probe()
        self.agent.asked[-1].fail(ConnectionRefusedError())
        self.assertIn("refused", str(self.failureResultOf(result, ProbeError).value))
        result = self.run_probe()
        self.clock.advance(10.0)
        self.assertIn("10 s", str(self.failureResultOf(result, ProbeError).value))

    def trouble(self, *answers: int | Exception | FakeResponse) -> str:
        """The result of a probe whose requests get these responses in turn."""
        result = self.run_probe()
        for answer in answers:
            if isinstance(answer, Exception):
                self.agent.asked[-1].fail(answer)
            elif isinstance(answer, FakeResponse):
                self.agent.asked[-1].result.callback(answer)
            else:
                self.agent.asked[-1].answer(answer)
        return str(self.failureResultOf(result, ProbeError).value)

    def test_another_path_answers(self) -> None:
        """If the health path is missing and another answers 2xx, the message suggests it; the search runs once."""
        said = "/health answered 404 but / answers: set VESPA_HEALTHCHECK_ENDPOINT=/"
        self.assertEqual(self.trouble(404, 200), said)
        self.assertEqual(self.trouble(404), said)
        self.assertEqual(len(self.agent.asked), 3)
        self.successResultOf(self.answered(200))
        said = "/health answered 404 but /v2/health/ready answers: set VESPA_HEALTHCHECK_ENDPOINT=/v2/health/ready"
        self.assertEqual(self.trouble(404, 302, 200), said)

    def answered(self, status: int) -> Deferred[Response]:
        result = self.run_probe()
        self.agent.asked[-1].answer(status)
        return result

    def test_no_other_path(self) -> None:
        """If no path answers 2xx, or the server stops answering, the message says what a health path must do."""
        said = "/health answered 404: set VESPA_HEALTHCHECK_ENDPOINT to a path that answers 2xx"
        self.assertIn(said, self.trouble(404, 404, 404, 401, 404))
        self.probe = HealthProbe(BoundedClient(self.agent, self.clock), "http://a/x", timeout=10.0)
        self.assertIn("/x answered 404: set", self.trouble(404, ConnectionRefusedError()))

    def test_prefix(self) -> None:
        """Messages show paths as they are set, without the prefix of the backend's URL."""
        client = BoundedClient(self.agent, self.clock)
        self.probe = HealthProbe(client, "http://a/api/health", timeout=10.0, prefix="/api")
        self.assertIn("/health answered 404 but / answers", self.trouble(404, 200))
        self.assertEqual(self.agent.urls, ["http://a/api/health", "http://a/api/"])

    def test_what_to_set(self) -> None:
        """For each failure, the probe's message says in one sentence what happened and which variable may be wrong."""
        moved = FakeResponse(307, headers=Headers({"Location": ["/health/\n"]}))
        plain = FakeResponse(400, b"The plain HTTP request was sent to HTTPS port")
        gone = UpstreamError("backend_unreachable", "x", silent=True)
        gone.__cause__ = DNSLookupError("no such name")
        for answer, said in (
            (
                401,
                "/health answered 401: the backend requires a key: set VESPA_BACKEND_AUTHORIZATION, such as `Bearer",
            ),
            (403, "set VESPA_BACKEND_AUTHORIZATION"),
            (moved, "/health answered 307, a redirect to /health/: set VESPA_HEALTHCHECK_ENDPOINT to a path"),
            (405, "/health answered 405 to GET: set VESPA_HEALTHCHECK_ENDPOINT"),
            (503, "/health answered 503: the backend says that it is not ready"),
            (plain, "/health answered 400: the port speaks TLS: write https:// in VESPA_BACKEND_URL"),
            (429, "/health answered 429: any 2xx means healthy; VESPA_HEALTHCHECK_ENDPOINT"),
            (
                UpstreamError("x", "y", refused=True),
                "no server listens at 127.0.0.1:1: the backend is not up yet, or",
            ),
            (gone, "the name 127.0.0.1 is unknown: check VESPA_BACKEND_URL"),
            (
                UpstreamError("backend_timeout", "x"),
                "no connection to 127.0.0.1:1 within 10 s: check",
            ),
            (UpstreamError("no_reply", "x"), "write https:// in VESPA_BACKEND_URL"),
            (
                UpstreamError("bad_reply", "not HTTP"),
                "does not speak HTTP (not HTTP): check VESPA_BACKEND_URL",
            ),
            (
                UpstreamError("backend_unreachable", "no route"),
                "127.0.0.1:1 cannot be reached: no route: check VESPA",
            ),
        ):
            self.assertIn(said, self.trouble(answer))

    def test_wrong_key(self) -> None:
        """A key that the backend does not take is not asked for again, but said to be wrong."""
        client = BoundedClient(self.agent, self.clock, {"Authorization": "Bearer k"})
        self.probe = HealthProbe(client, "http://a/health", timeout=10.0)
        said = "/health answered 401: the backend rejects the key in VESPA_BACKEND_AUTHORIZATION: correct it"
        self.assertEqual(self.trouble(401), said)

    def test_tls(self) -> None:
        """Over TLS it is said whether certificate, name or protocol is wrong, and what to write."""
        self.probe = HealthProbe(BoundedClient(self.agent, self.clock), "https://a:443/health", timeout=10.0)
        for text, said in (
            ("certificate verify failed", "is not signed by a trusted root: set VESPA_BACKEND_CA_FILE"),
            (
                "VerificationError(errors=[DNSMismatch(...)])",
                "is not for a: write the name that it is for in",
            ),
            ("wrong version number", "a:443 does not speak TLS: write http:// in VESPA_BACKEND_URL"),
            ("closed", "a:443 closed the connection: if it does not speak TLS, write http:// in VESPA_BACKEND_URL"),
        ):
            self.assertIn(said, self.trouble(UpstreamError("no_reply", text)))

    def test_slow(self) -> None:
        """The message for a slow health check names its limit."""
        result = self.run_probe()
        self.clock.advance(10.0)
        self.assertIn("VESPA_HEALTHCHECK_TIMEOUT", str(self.failureResultOf(result, ProbeError).value))

    def test_unix(self) -> None:
        """A unix socket is called by its path."""
        client = BoundedClient(self.agent, self.clock)
        self.probe = HealthProbe(client, "http://localhost/health", timeout=10.0, unix_socket="/run/a.sock")
        self.assertIn("no server listens at /run/a.sock", self.trouble(UpstreamError("x", "y", refused=True)))

    def test_refused(self) -> None:
        """A connection counts as refused only if no server listens."""
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
