"""Tests of `vespa.checking.autoscaler`."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import formatdate

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from tests.fakes import Asked, FakeAgent, FakeResponse
from vespa.checking.autoscaler import AutoscalerCheck, FetchedKey
from vespa.checking.finding import Finding
from vespa.runtime.http_client import BoundedClient
from vespa.simulator.signing import Signer

NOW = 1_700_000_000.0
A, B = "https://a.test", "https://b.test"
SIGNER, OTHER = Signer(), Signer()


class AutoscalerCase(SynchronousTestCase):
    def check(self, answers: Mapping[str, FakeResponse | Exception | None]) -> tuple[list[Finding], list[FetchedKey]]:
        """Check these addresses, of which None does not answer in time."""
        clock = Clock()
        clock.advance(NOW)
        by_address = {address.rstrip("/"): response for address, response in answers.items()}

        def answer(asked: Asked) -> None:
            given = by_address[asked.url.removesuffix("/pubkey/")]
            if isinstance(given, Exception):
                asked.fail(given)
            elif given is not None:
                asked.result.callback(given)

        http = BoundedClient(FakeAgent(answer), clock)
        check = AutoscalerCheck(
            http, list(answers), setting="REPORT_ADDR", without="without it nothing works", timeout=10.0
        )
        result = Deferred.fromCoroutine(check.run())
        clock.advance(10.0)
        return self.successResultOf(result)


def key(signer: Signer = SIGNER, ahead: float | None = None) -> FakeResponse:
    """The key, by a server whose clock is so many seconds ahead."""
    date = {} if ahead is None else {"Date": [formatdate(NOW + ahead, usegmt=True)]}
    return FakeResponse(200, signer.pem, headers=Headers(date))


class AddressTests(AutoscalerCase):
    def test_well(self) -> None:
        """An address that gives its key is right, and the key is kept with its address."""
        (found,), (fetched,) = self.check({A + "/": key()})
        self.assertEqual((found.state, found.what, fetched.address), ("ok", "autoscaler", A))
        self.assertIn(fetched.fingerprint, found.why)

    def test_none(self) -> None:
        """If no address gives a key, each is a failure with its cause, and the result of that is said."""
        found, keys = self.check(
            {
                A: None,
                B: ConnectionRefusedError(),
                "https://c.test": FakeResponse(500),
                "https://d.test": FakeResponse(200, b"<html>"),
            }
        )
        self.assertEqual(([each.state for each in found], keys), (["failed"] * 4, []))
        for each, why in zip(found, ("within 10 s", "refused", "answered 500", "something else than"), strict=True):
            self.assertIn(why, each.why)
            self.assertTrue(each.why.endswith("; without it nothing works"), each.why)
            self.assertIn("REPORT_ADDR", each.advice)

    def test_one_of_two(self) -> None:
        """An address that is down is a warning while another one answers."""
        found, keys = self.check({A: ConnectionRefusedError(), B: key()})
        self.assertEqual([each.state for each in found], ["warning", "ok"])
        self.assertEqual([each.address for each in keys], [B])

    def test_different_keys(self) -> None:
        """Addresses of different autoscalers are a warning."""
        found, keys = self.check({A: key(), B: key(OTHER)})
        self.assertEqual((len(keys), found[-1].state, found[-1].what), (2, "warning", "keys"))


class ClockTests(AutoscalerCase):
    def test_right(self) -> None:
        """A difference of a few seconds is right."""
        for ahead in (-4.0, 0.0, 4.0):
            found = self.check({A: key(ahead=ahead)})[0]
            self.assertEqual((found[-1].what, found[-1].state), ("clock", "ok"))

    def test_skew(self) -> None:
        """A larger difference is a warning that says on which side the clock is and how far."""
        for ahead, words in ((90.0, "s behind that of https://a.test"), (-90.0, "s ahead of that of https://a.test")):
            found = self.check({A: key(ahead=ahead)})[0][-1]
            self.assertEqual(found.state, "warning")
            self.assertIn(words, found.why)
            self.assertLessEqual(abs(found.details["skew_seconds"] - ahead), 1.0)
            self.assertIn("NTP", found.advice)

    def test_nearest(self) -> None:
        """One address with a wrong clock says nothing about this machine's."""
        self.assertEqual(self.check({A: key(ahead=500.0), B: key(ahead=0.0)})[0][-1].state, "ok")

    def test_errors_tell_too(self) -> None:
        """The date of an error counts as well; without a date, or with a malformed one, there is no line."""
        headers = Headers({"Date": [formatdate(NOW + 90.0, usegmt=True)]})
        self.assertEqual(self.check({A: FakeResponse(404, headers=headers)})[0][-1].what, "clock")
        for date in ("yesterday", ""):
            response = FakeResponse(200, SIGNER.pem, headers=Headers({"Date": [date]}))
            self.assertEqual([each.what for each in self.check({A: response})[0]], ["autoscaler"])
