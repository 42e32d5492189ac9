"""Tests of `vespa.worker.reporting_client`."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.logger import LogEvent
from twisted.trial.unittest import SynchronousTestCase

from tests.fakes import Asked, FakeAgent, FakeResponse
from tests.logs import observe_log
from vespa.runtime.http_client import BoundedClient
from vespa.worker.reporting_client import ReportingClient, ReportingError

A, B, C = "http://a.example", "http://b.example", "http://c.example"


def pem(key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


RSA_PEM = pem(rsa.generate_private_key(65537, 2048).public_key())
EC_PEM = pem(ec.generate_private_key(ec.SECP256R1()).public_key())


class AutoscalerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.agent = FakeAgent()

    def autoscaler(self, *addresses: str, max_retries: int = 1) -> ReportingClient:
        return ReportingClient(
            addresses or (A, B, C),
            BoundedClient(self.agent, self.clock),
            random=lambda: 0.5,
            timeout=10.0,
            max_retries=max_retries,
            retry_delay=2.0,
        )

    def answers(self, **statuses: int | None) -> None:
        """Answer at once by the first letter of the host: a status, or None for silence."""

        def on_request(asked: Asked) -> None:
            status = statuses[asked.url[7]]
            if status is not None:
                asked.answer(status, b"reply")

        self.agent.on_request = on_request

    def post(self, autoscaler: ReportingClient, *skip: str) -> Deferred[bool]:
        return Deferred.fromCoroutine(autoscaler.post("/x/", b"{}", skip=skip))

    def asked(self) -> str:
        """The hosts asked since the last time, by their letters."""
        hosts = "".join(url[7] for url in self.agent.urls)
        self.agent.asked.clear()
        return hosts


class PostTests(AutoscalerTests):
    def test_first_success_ends_it(self) -> None:
        """Addresses are tried in order, and the first 2xx is the last."""
        self.answers(a=500, b=204, c=200)
        self.assertTrue(self.successResultOf(self.post(self.autoscaler())))
        self.assertEqual(self.agent.urls, [A + "/x/", B + "/x/"])
        sent = self.agent.asked[1]
        self.assertEqual((sent.method, sent.body), ("POST", b"{}"))
        self.assertEqual(sent.headers.getRawHeaders("content-type"), ["application/json"])

    def test_troubles(self) -> None:
        """The URLs whose last call failed are there with the newest reason, until a call succeeds."""
        autoscaler = self.autoscaler()
        self.answers(a=500, b=404, c=200)
        self.post(autoscaler)
        self.assertEqual(autoscaler.troubles, {A + "/x/": "answered 500", B + "/x/": "answered 404"})
        self.answers(a=503, b=200, c=200)
        self.post(autoscaler)
        self.assertEqual(autoscaler.troubles, {A + "/x/": "answered 503"})
        self.answers(a=200)
        self.post(autoscaler)
        self.assertEqual(autoscaler.troubles, {})

    def test_addresses(self) -> None:
        """The addresses are told in their order, without a final slash."""
        self.assertEqual(self.autoscaler(B, A + "/").addresses, (B, A))

    def test_slash_at_the_end(self) -> None:
        """An address may end in a slash and have a path."""
        self.answers(a=200)
        self.post(self.autoscaler(A + "/api/v0/"))
        self.assertEqual(self.agent.urls, [A + "/api/v0/x/"])

    def test_redirect_is_no_success(self) -> None:
        """A redirect counts as a refusal and is not followed."""
        self.answers(a=302)
        self.assertFalse(self.successResultOf(self.post(self.autoscaler(A))))

    def test_rounds(self) -> None:
        """All addresses are gone through so many times, with the delay and its jitter between, and then it gives up."""
        self.answers(a=500, b=404, c=301)
        result = self.post(self.autoscaler(max_retries=3))
        self.assertEqual(self.asked(), "abc")
        self.clock.advance(2.4)
        self.assertEqual(self.asked(), "")
        self.clock.advance(0.1)
        self.assertEqual(self.asked(), "abc")
        self.clock.advance(2.5)
        self.assertEqual(self.asked(), "abc")
        self.assertFalse(self.successResultOf(result))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_network_errors_are_false(self) -> None:
        """Network errors are never raised."""
        self.agent.on_request = lambda asked: asked.fail(ConnectionRefusedError())
        self.assertFalse(self.successResultOf(self.post(self.autoscaler())))
        self.assertEqual(self.asked(), "abc")

    def test_skip(self) -> None:
        """Skipped addresses get no request; having no address left is not a failure."""
        self.answers(a=200, b=200)
        self.assertTrue(self.successResultOf(self.post(self.autoscaler(A, B), A + "/")))
        self.assertEqual(self.asked(), "b")
        self.assertTrue(self.successResultOf(self.post(self.autoscaler(A, max_retries=3), A)))
        self.assertEqual(self.asked(), "")

    def test_silent_address_goes_last(self) -> None:
        """An address that timed out costs no second timeout for half a minute, unless all others fail."""
        autoscaler = self.autoscaler()
        self.answers(a=None, b=200, c=200)
        result = self.post(autoscaler)
        self.clock.advance(10.0)
        self.assertTrue(self.successResultOf(result))
        self.assertEqual(self.asked(), "ab")
        self.assertTrue(self.successResultOf(self.post(autoscaler)))
        self.assertEqual(self.asked(), "b")
        self.answers(a=200, b=500, c=500)
        self.assertTrue(self.successResultOf(self.post(autoscaler)))
        self.assertEqual(self.asked(), "bca")
        self.assertTrue(self.successResultOf(self.post(autoscaler)))
        self.assertEqual(self.asked(), "a")

    def test_silent_address_comes_back(self) -> None:
        """After half a minute the address that timed out has its old place."""
        autoscaler = self.autoscaler()
        self.answers(a=None, b=200)
        self.post(autoscaler)
        self.clock.advance(10.0)
        self.clock.advance(29.9)
        self.asked()
        self.post(autoscaler)
        self.assertEqual(self.asked(), "b")
        self.clock.advance(0.1)
        self.post(autoscaler)
        self.assertEqual(self.asked(), "a")

    def test_status_counts_though_the_body_hangs(self) -> None:
        """A report with a 2xx response counts as delivered even if the response's body fails; it is not sent twice."""
        self.agent.on_request = lambda asked: asked.result.callback(FakeResponse(200, end=None))
        result = self.post(self.autoscaler())
        self.clock.advance(10.0)
        self.assertTrue(self.successResultOf(result))
        self.assertEqual(self.asked(), "a")

    def test_cancel(self) -> None:
        """A cancelled post tries no other address and leaves no timer."""
        result = self.post(self.autoscaler(max_retries=3))
        result.cancel()
        self.failureResultOf(result, CancelledError)
        self.assertEqual(self.asked(), "a")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_log(self) -> None:
        """A call that goes wrong is logged when it begins and when it ends, without its body."""
        events: list[LogEvent] = []
        observe_log(self, events.append)
        autoscaler = self.autoscaler(A)
        for status in (500, 500, 503, 200, 200):
            self.answers(a=status)
            Deferred.fromCoroutine(autoscaler.post("/x/", b'{"mtoken": "secret"}'))
        self.assertEqual([event["log_level"].name for event in events], ["warn", "info"])
        self.assertNotIn("secret", repr(events))


class PublicKeyTests(AutoscalerTests):
    def test_first_valid(self) -> None:
        """The key is of the first address that gives an RSA key in PEM; all else is passed over."""
        responses = {
            "a": (200, b"<html>login</html>"),
            "b": (200, EC_PEM),
            "c": (404, RSA_PEM),
            "d": (200, b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"),
            "e": (200, RSA_PEM),
        }
        self.agent.on_request = lambda asked: (asked.answer(*responses[asked.url[7]]), None)[1]
        autoscaler = self.autoscaler(*(f"http://{letter}.example" for letter in "abcdef"))
        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(autoscaler.public_key())), RSA_PEM)
        self.assertEqual(self.agent.asked[0].url, A + "/pubkey/")
        self.assertEqual(self.agent.asked[0].method, "GET")
        self.assertEqual(self.asked(), "abcde")

    def test_none(self) -> None:
        """When no address gives a key the error says why, address by address."""
        self.answers(a=500, b=200)
        error = self.failureResultOf(Deferred.fromCoroutine(self.autoscaler(A, B).public_key()), ReportingError).value
        self.assertIn(f"{A}: answered 500", str(error))
        self.assertIn(f"{B}: the response is not", str(error))

    def test_no_address(self) -> None:
        """Without an address there is no key."""
        autoscaler = ReportingClient((), BoundedClient(self.agent, self.clock), random=lambda: 0.0)
        self.failureResultOf(Deferred.fromCoroutine(autoscaler.public_key()), ReportingError)

    def test_own_timeout(self) -> None:
        """A key may be waited for more or less long than a report."""
        result = Deferred.fromCoroutine(self.autoscaler(A).public_key(timeout=3.0))
        self.clock.advance(3.0)
        self.failureResultOf(result, ReportingError)

    def test_huge_response(self) -> None:
        """A response without end is no key and is not kept."""
        response = FakeResponse(200, RSA_PEM, bytes(65536), end=None)
        self.agent.on_request = lambda asked: asked.result.callback(response)
        self.failureResultOf(Deferred.fromCoroutine(self.autoscaler(A).public_key()), ReportingError)
        self.assertTrue(response.transport.aborted)
