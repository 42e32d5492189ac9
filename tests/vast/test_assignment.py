"""The autoscaler's responses to a client."""

from __future__ import annotations

import json
from urllib.parse import parse_qs

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vespa.vast.assignment import Assignment, BadRouteResponse, Waiting, one_line, read_route_response, seconds_before
from vespa.vast.query_envelope import callers_own, unwrap_query
from vespa.vast.whole_envelope import unwrap_body

RESPONSE = (
    b'{"__request_id": "r", "cost": 100.0, "endpoint": "caf\xc3\xa9 & co", "reqnum": 12, "request_idx": 7,\n'
    b' "signature": "c2ln+/==", "url": "https://203.0.113.7:31000", "api_key": "secret"}'
)


class AssignmentTests(SynchronousTestCase):
    def read(self, body: bytes = RESPONSE) -> Assignment:
        reply = read_route_response(body, 0)
        assert isinstance(reply, Assignment)
        return reply

    def test_a_worker_understands_both_forms(self) -> None:
        """In body and query it is the same assignment, with the lexemes that were signed."""
        found = self.read()
        self.assertEqual((found.url, found.request_idx), ("https://203.0.113.7:31000", 7))
        auth = unwrap_body(b'{"auth_data":' + found.auth_data + b',"payload":1}', 1e9).auth
        self.assertEqual(auth.cost_lexeme, b"100.0")
        self.assertEqual(auth.endpoint, "café & co")
        self.assertEqual(unwrap_query(found.query, 1e9), (auth, b""))

    def test_only_what_was_signed_is_handed_on(self) -> None:
        """Other members of the response are not passed on."""
        found = self.read()
        self.assertNotIn(b"secret", found.auth_data + found.query)
        self.assertEqual(json.loads(found.auth_data)["__request_id"], "r")

    def test_waiting(self) -> None:
        """A response without a url means wait; its index is the one to ask under."""
        for body, expected in (
            (b'{"endpoint": "e", "status": "0 workers", "request_idx": 9}', Waiting(9, "0 workers")),
            (b'{"endpoint": "e"}', Waiting(3, "")),
            (b'{"url": null, "status": {"a": 1}}', Waiting(3, '{"a": 1}')),
            (b'{"url": "", "status": "a\\nb"}', Waiting(3, "a\nb")),
        ):
            self.assertEqual(read_route_response(body, 3), expected)

    def test_what_cannot_be_used(self) -> None:
        """Anything else is refused with what is wrong with it, and nothing of it is passed on."""
        good = json.loads(RESPONSE)
        for name, value in (("cost", "1"), ("reqnum", 1.5), ("request_idx", "x"), ("signature", 5), ("url", 7)):
            self.assertIn(
                name,
                str(
                    self.assertRaises(
                        BadRouteResponse, read_route_response, json.dumps({**good, name: value}).encode(), 0
                    )
                ),
            )
        for name in ("cost", "endpoint", "reqnum", "signature"):
            body = json.dumps({key: value for key, value in good.items() if key != name}).encode()
            self.assertIn(name, str(self.assertRaises(BadRouteResponse, read_route_response, body, 0)))
        for body in (b"", b"[]", b"pong", b"\xff", b'{"url": "x"', b"[" * 100_000, b" " * 20_000):
            self.assertRaises(BadRouteResponse, read_route_response, body, 0)

    @given(st.text(max_size=50), st.text(max_size=50))
    def test_any_text(self, endpoint: str, signature: str) -> None:
        """Whatever characters there are, the query gives them back."""
        response = {**json.loads(RESPONSE), "endpoint": endpoint, "signature": signature}
        try:
            body = json.dumps(response, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            body = json.dumps(response).encode()
        try:
            found = read_route_response(body, 0)
        except BadRouteResponse:
            return  # half of a surrogate pair
        assert isinstance(found, Assignment)
        parsed = parse_qs(found.query.decode(), keep_blank_values=True)
        self.assertEqual(parsed["serverless_endpoint"], [endpoint])
        self.assertEqual(parsed["serverless_signature"], [signature])


class SmallTests(SynchronousTestCase):
    def test_seconds_before(self) -> None:
        """One second first, then at random between 0.1 s and 2, 4, 5, 5 s."""
        self.assertEqual([seconds_before(poll, lambda: 0.0) for poll in (1, 2, 3, 50)], [1.0, 0.1, 0.1, 0.1])
        self.assertEqual([round(seconds_before(poll, lambda: 1.0), 6) for poll in (1, 2, 3, 4, 50)], [1.0, 2, 4, 5, 5])

    def test_one_line(self) -> None:
        """Long texts are cut, control characters gone."""
        self.assertEqual(one_line("a\r\nb\tc"), "a  b c")
        self.assertEqual(len(one_line("x" * 10_000)), 200)

    def test_callers_own(self) -> None:
        """Parameters reserved for Vast are removed in any spelling; all others keep their bytes and order."""
        for query, kept in (
            (b"a=1&b=%2F&a=2&c", b"a=1&b=%2F&a=2&c"),
            (b"serverless_cost=1&a=1&serverless_x", b"a=1"),
            (b"%73erverless_cost=1", b""),
            (b"api_key=k&%61pi_key=k&api_keys=1", b"api_keys=1"),
            (b"x=serverless_cost", b"x=serverless_cost"),
            (b"%zz=1&&", b"%zz=1&&"),
        ):
            self.assertEqual(callers_own(query), kept)
