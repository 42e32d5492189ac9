"""What a worker takes off a request, in memory; how bodies that come in pieces are taken is in test_request_bodies."""

from __future__ import annotations

import json

from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from tests.frames import frames
from tests.vast.envelopes import AUTH_DATA, an_auth
from tests.worker.test_request_bodies import envelope, post
from vespa.protocol.refusal import Refusal
from vespa.simulator.signing import query_envelope
from vespa.worker.request_unwrapping import RequestUnwrapping

SIGNED = query_envelope(AUTH_DATA).encode()
SECURED = RequestUnwrapping(secured=True)
UNSECURED = RequestUnwrapping(secured=False)


class UnwrapTests(SynchronousTestCase):
    def refused(self, *args: object, by: RequestUnwrapping = SECURED) -> tuple[int, str]:
        refusal = self.assertRaises(Refusal, by.unwrap, *args)
        return refusal.status, refusal.code

    def test_enveloped(self) -> None:
        """The payload is the envelope's very bytes, at a worker that verifies and at one that does not."""
        for unwrapping in (SECURED, UNSECURED):
            for method in (b"POST", b"PUT", b"PATCH"):
                found = unwrapping.unwrap(post(method=method), envelope(b'{"a": 1.50}'))
                self.assertEqual(found, (an_auth(), b'{"a": 1.50}'))

    def test_signed_in_the_query(self) -> None:
        """A signature in the query signs any method and any body, which is not looked at."""
        for unwrapping in (SECURED, UNSECURED):
            for method, body in ((b"GET", b""), (b"POST", b"\x00\xff"), (b"POST", envelope()), (b"DELETE", b"")):
                head = post(b"/up?x=1&" + SIGNED, method)
                self.assertEqual(unwrapping.unwrap(head, body), (an_auth(), body))
                begun = unwrapping.begin_body(head, 1_000_000)
                self.assertEqual((begun.ready, begun.content, begun.verbatim), (True, an_auth(), True))

    def test_wrong_query(self) -> None:
        """A wrong query is refused before the body is read, whatever the body is."""
        head = post(b"/?serverless_cost=1")
        for unwrapping in (SECURED, UNSECURED):
            self.assertEqual(self.refused(head, envelope(), by=unwrapping), (422, "invalid_envelope"))
            self.assertEqual(self.assertRaises(Refusal, unwrapping.begin_body, head, None).status, 422)

    def test_plain(self) -> None:
        """An unsecured worker takes a request as it is; a secured one says what it lacks."""
        for head, body in (
            (post(method=b"GET"), b""),
            (post(b"/?a=1", b"DELETE"), envelope()),
            (post(), b""),
            (post(), b'{"prompt": "auth_data"}'),
            (post(), b"\x00\xff"),
        ):
            self.assertEqual(UNSECURED.unwrap(head, body), (None, body))
            self.assertEqual(self.refused(head, body), (422, "invalid_envelope"))

    def test_missing_parameters(self) -> None:
        """Without a body, or with a method whose body is no envelope, each parameter of the query is named."""
        for head, length in ((post(), 0), (post(method=b"GET"), 5), (post(method=b"GET"), None)):
            refusal = self.assertRaises(Refusal, SECURED.begin_body, head, length)
            assert refusal.fields is not None
            self.assertEqual(len(refusal.fields), 6)

    def test_in_a_session(self) -> None:
        """Where there are sessions, an envelope or a query names one beside its signed values, in each form."""
        unwrapping = RequestUnwrapping(secured=True, sessions=True)
        inside = replace(an_auth(), session_id="s")
        raw = envelope(b"1", b',"session_id":"s"')
        head = post(b"/?" + SIGNED + b"&serverless_session_id=s")
        self.assertEqual(unwrapping.unwrap(post(), raw), (inside, b"1"))
        self.assertEqual(unwrapping.unwrap(head, b"1"), (inside, b"1"))
        self.assertEqual(unwrapping.begin_body(head, None).content, inside)
        self.assertEqual(unwrapping.target(head), b"/")

    def test_session(self) -> None:
        """No session is known here."""
        head = post(b"/?" + SIGNED + b"&serverless_session_id=s")
        for unwrapping in (SECURED, UNSECURED):
            self.assertEqual(self.refused(head, b"1", by=unwrapping), (410, "invalid_session"))
            self.assertEqual(self.assertRaises(Refusal, unwrapping.begin_body, head, None).status, 410)
        raw = envelope(b"1", b',"session_id":"s"')
        for unwrapping in (SECURED, UNSECURED):
            self.assertEqual(self.refused(post(), raw, by=unwrapping), (410, "invalid_session"))
            self.assertEqual(unwrapping.unwrap(post(), envelope(b"1", b',"session_id":null')), (an_auth(), b"1"))

    def test_highest_cost(self) -> None:
        """The highest cost may change at run time: from then on it holds, however a request comes."""
        unwrapping = RequestUnwrapping(secured=True, max_cost=100.0)
        large = envelope(b'"' + b"x" * 100_000 + b'"')
        begun = unwrapping.begin_body(post(), 70)
        self.assertEqual(unwrapping.unwrap(post(), envelope())[0], an_auth())
        unwrapping.max_cost = 99.0
        said = {"auth_data.cost": "must be at most 99 (VESPA_MAX_COST)"}
        for body in (envelope(), large):
            self.assertEqual(self.assertRaises(Refusal, unwrapping.unwrap, post(), body).fields, said)
        begun.feed(envelope())
        self.assertEqual(self.assertRaises(Refusal, begun.finish).fields, said)
        self.assertEqual(self.refused(post(b"/?" + SIGNED), b"", by=unwrapping), (422, "invalid_envelope"))

    def test_payload_before_the_signature(self) -> None:
        """A large body whose payload comes first is kept up to a limit, and no further, in one read or in many."""
        raw = b'{"payload":"%b","auth_data":%b}' % (b"x" * 100_000, json.dumps(AUTH_DATA).encode())
        self.assertEqual(len(SECURED.unwrap(post(), raw)[1]), 100_002)
        low = RequestUnwrapping(secured=True, max_unverified=80_000)
        self.assertEqual(self.refused(post(), raw, by=low), (413, "body_too_large"))


class FlatTests(SynchronousTestCase):
    def test_two_calls(self) -> None:
        """A usual envelope is opened in two calls."""
        head, body = post(), envelope(b'{"a": 1}')
        SECURED.unwrap(head, body)
        self.assertEqual(len(frames(SECURED.unwrap, head, body)), 2)


class PlainWorkTests(SynchronousTestCase):
    def test_told_in_a_header(self) -> None:
        """A plain request is one unit of work, or what its header says; what that says wrongly is 422."""
        self.assertEqual(UNSECURED.plain_work(post()), 1_000_000)
        for text, work in ((b"2.5", 2_500_000), (b"0", 0)):
            self.assertEqual(UNSECURED.plain_work(post(lines=(b"Host: w", b"X-Serverless-Cost: " + text))), work)
        for text in (b"NaN", b"-1", b"1e999", b"1_0", b"true", b"", b"1e10", b"\xff"):
            head = post(lines=(b"x-serverless-cost: " + text,))
            refusal = self.assertRaises(Refusal, UNSECURED.plain_work, head)
            self.assertEqual((refusal.status, refusal.code), (422, "invalid_cost"))


class TargetTests(SynchronousTestCase):
    def test_callers_own(self) -> None:
        """Our parameters are removed from the query; the rest is passed on byte for byte."""
        signed = b"/a/..%2F?x=%31&" + SIGNED + b"&x=2&api_key=secret&y"
        for unwrapping in (SECURED, UNSECURED):
            self.assertEqual(unwrapping.target(post(signed)), b"/a/..%2F?x=%31&x=2&y")
            self.assertEqual(unwrapping.target(post(b"/up?" + SIGNED)), b"/up")
            self.assertEqual(unwrapping.target(post(b"/up")), b"/up")
            self.assertEqual(unwrapping.target(post(b"*")), b"*")

    def test_plain(self) -> None:
        """A plain request to an unsecured worker keeps its whole query; a secured worker passes no api_key on."""
        for target, secured in ((b"/v1?api_key=mine&a", b"/v1?a"), (b"/v1?", b"/v1"), (b"/v1?&", b"/v1?&")):
            self.assertEqual(UNSECURED.target(post(target)), target)
            self.assertEqual(SECURED.target(post(target)), secured)
