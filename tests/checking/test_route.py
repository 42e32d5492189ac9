"""Tests of `vespa.checking.route`."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from vespa.checking.autoscaler import FetchedKey
from vespa.checking.finding import Finding
from vespa.checking.route import check_route
from vespa.config.worker import WorkerSettings
from vespa.simulator.signing import Signer, Signs

SIGNER, OTHER = Signer(), Signer()
KEY = FetchedKey("https://run.test", SIGNER.pem)
URL = "https://203.0.113.7:31000"


def settings(**more: Any) -> WorkerSettings:
    values: dict[str, Any] = {"public_ipaddr": "203.0.113.7", "public_port": 31000, "use_ssl": True, **more}
    return WorkerSettings(**values)


class RouteCase(SynchronousTestCase):
    def check(self, content: object, *, keys: tuple[FetchedKey, ...] = (KEY,), **more: Any) -> list[Finding]:
        text = content if isinstance(content, bytes) else json.dumps(content).encode()
        return check_route(text, keys, settings(**more))

    def assignment(self, url: str = URL, signs: Signs = "url", cost: float = 100) -> dict[str, Any]:
        return SIGNER.assignment(url, cost=cost, reqnum=5, request_idx=9, signs=signs)


class FormTests(RouteCase):
    def test_forms(self) -> None:
        """A valid response says which form of the signature matched, and by which key."""
        forms: tuple[Signs, ...] = ("url", "full")
        for signs in forms:
            route, url, signature = self.check(self.assignment(signs=signs))
            self.assertEqual([each.state for each in (route, url, signature)], ["ok"] * 3)
            self.assertIn(f"valid in the form {signs} ", signature.why)
            self.assertIn(KEY.fingerprint, signature.why)
            self.assertIn("request 9 for the endpoint 'demo', cost 100", route.why)

    def test_pasted(self) -> None:
        """Spaces around it, members that a worker does not read, and an envelope around it do not matter."""
        whole = {"__request_id": "x", **self.assignment()}
        for content in (b"\n " + json.dumps(whole, indent=2).encode() + b" \n", {"auth_data": whole, "payload": {}}):
            self.assertEqual([each.state for each in self.check(content)], ["ok"] * 3)

    def test_mode(self) -> None:
        """A form that the settings do not accept is a failure, although the signature is valid."""
        signature = self.check(self.assignment(), signature="full")[2]
        self.assertEqual(signature.state, "failed")
        self.assertIn("VESPA_SIGNATURE=full does not accept this form", signature.why)

    def test_second_key(self) -> None:
        """Each key is tried."""
        keys = (FetchedKey("https://other.test", OTHER.pem), KEY)
        self.assertIn("https://run.test", self.check(self.assignment(), keys=keys)[2].why)

    def test_no_key(self) -> None:
        """Without a key the signature is not examined."""
        self.assertEqual(self.check(self.assignment(), keys=())[2].state, "skipped")

    def test_malformed(self) -> None:
        """What is no response of /route/ is said to be none."""
        for content, words in (
            (b"curl: (7)", "not a JSON object"),
            ({"url": URL}, "has a url but no cost"),
            ({"error": "wrong key"}, "has neither a url nor a status"),
            (b"x" * 20000, "longer"),
        ):
            (found,) = self.check(content)
            self.assertEqual((found.state, words in found.why), ("failed", True), found)
        (found,) = self.check({**self.assignment(), "cost": -1})
        self.assertIn("the worker would answer 422 invalid_envelope: cost must not be negative", found.why)

    def test_waiting(self) -> None:
        """A response without a worker is a warning with the autoscaler's status."""
        (found,) = self.check({"endpoint": "demo", "status": "total workers: 0", "request_idx": 4})
        self.assertEqual(found.state, "warning")
        self.assertIn("request 4 has to wait (total workers: 0)", found.why)


class URLTests(RouteCase):
    def test_wrong(self) -> None:
        """A response for another URL shows both, and the advice depends on what differs."""
        for url, advice in (
            ("https://198.51.100.1:31000", "another worker of the endpoint"),
            ("https://203.0.113.7:31001", "VAST_TCP_PORT_"),
            ("http://203.0.113.7:31000", "VESPA_USE_SSL"),
            ("https://203.0.113.7:31000/x", "VESPA_CHECK_URL=false"),
            ("https://203.0.113.7:x", "malformed"),
        ):
            _, found, signature = self.check(self.assignment(url))
            self.assertEqual((found.state, signature.state), ("failed", "ok"))
            self.assertIn(f"it is signed for {url}, but this worker's URL is {URL}", found.why)
            self.assertIn("401 wrong_url", found.why)
            self.assertIn(advice, found.advice)

    def test_accepted(self) -> None:
        """A final slash does not matter, nor does any URL where it is not checked."""
        self.assertEqual(self.check(self.assignment(URL + "/"))[1].state, "ok")
        found = self.check(self.assignment("https://198.51.100.1:1"), check_url=False)[1]
        self.assertEqual((found.state, "VESPA_CHECK_URL=false" in found.why), ("ok", True))

    def test_unknown(self) -> None:
        """Without a public URL of its own the worker cannot compare."""
        self.assertEqual(self.check(self.assignment(), public_port=None)[1].state, "skipped")


class SignatureTests(RouteCase):
    def bad(self, content: dict[str, Any]) -> Finding:
        found = self.check(content)[2]
        self.assertEqual(found.state, "failed")
        self.assertIn(f"neither the form url nor the form full matches, by the key {KEY.fingerprint}", found.why)
        return found

    def test_other_key(self) -> None:
        """A signature by another key points to REPORT_ADDR."""
        self.assertIn("REPORT_ADDR", self.bad(OTHER.assignment(URL)).advice)

    def test_cut(self) -> None:
        """A signature that was cut or changed in its text is called so."""
        whole = self.assignment()
        self.assertIn("so it was cut", self.bad({**whole, "signature": whole["signature"][:-40]}).advice)
        self.assertIn("not base64", self.bad({**whole, "signature": whole["signature"][:-1]}).advice)

    def test_changed_number(self) -> None:
        """A cost that was written anew, which breaks the signature of all fields, is found."""
        whole = {**self.assignment(signs="full", cost=100.0), "cost": 100}
        self.assertIn("it is valid with the cost written as 100.0", self.bad(whole).advice)

    def test_changed_url(self) -> None:
        """A URL that lost its final slash is found."""
        self.assertIn(f"the url {URL}/", self.bad({**self.assignment(URL + "/"), "url": URL}).advice)
