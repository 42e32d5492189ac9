"""The bodies of requests for sessions, and the path at the backend that is told of a session's end."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.worker.requests import auth, envelope, signed
from vespa.protocol.refusal import Refusal
from vespa.worker.sessions.messages import WantedSession, backend_path, read_create, read_named


def created(payload: object, **more: Any) -> WantedSession:
    return read_create(envelope(json.dumps(payload).encode()), None, more.get("max_cost", 1e9), 3600.0)


class CreateTests(SynchronousTestCase):
    def wrong(self, body: bytes) -> dict[str, str]:
        refusal = self.assertRaises(Refusal, read_create, body, None, 1e9, 3600.0)
        self.assertEqual((refusal.status, refusal.code), (422, "invalid_envelope"))
        return dict(refusal.fields or {})

    def test_official_client(self) -> None:
        """What Vast's client sends: session_id null, and null for what it was not given."""
        payload = {"lifetime": 60, "on_close_route": None, "on_close_payload": None}
        body = json.dumps({"auth_data": {**auth(), "__request_id": "r"}, "session_id": None, "payload": payload})
        wanted = read_create(body.encode(), None, 1e9, 3600.0)
        self.assertEqual((wanted.lifetime, wanted.on_close, wanted.auth.work), (60.0, None, 2_500_000))
        self.assertEqual(json.loads(wanted.auth_data), {**auth(), "__request_id": "r"}, "what /session/get returns")

    def test_defaults(self) -> None:
        """An empty payload asks for 60 s, and for no request at the end."""
        self.assertEqual((created({}).lifetime, created({}).on_close), (60.0, None))

    def test_lifetime(self) -> None:
        """The lifetime is a number of seconds above 0, up to the limit, whose setting the error names."""
        self.assertEqual(created({"lifetime": 0.5}).lifetime, 0.5)
        self.assertEqual(created({"lifetime": 3600}).lifetime, 3600.0)
        for lifetime in (b"0", b"-1", b"3600.1", b"1e400", b'"60"', b"true", b"[60]", b"1e-400"):
            found = self.wrong(envelope(b'{"lifetime": %b}' % lifetime))
            self.assertIn("VESPA_MAX_SESSION_LIFETIME", found["payload.lifetime"], lifetime)

    def test_callback(self) -> None:
        """The backend gets the payload as it was written, with the session's id; another value is wrapped."""
        for payload, expected in (
            (b'{"a": 1.50, "b": "\xc3\xa9"}', b'{"a":1.50,"b":"\xc3\xa9","session_id":"s"}'),
            (b"null", b'{"session_id":"s"}'),
            (b"[1.0, 2]", b'{"payload":[1.0, 2],"session_id":"s"}'),
            (b'{"session_id": "of another"}', b'{"session_id":"s"}'),
        ):
            body = envelope(b'{"on_close_route": "/end?a=1", "on_close_payload": %b}' % payload)
            on_close = read_create(body, None, 1e9, 3600.0).on_close
            assert on_close is not None
            self.assertEqual((on_close.target, on_close.body("s")), (b"/end?a=1", expected))
            self.assertEqual(on_close.shown_payload, payload)

    def test_payload_without_a_route(self) -> None:
        """There is nowhere to send it, so nothing is sent, as at Vast's worker."""
        self.assertIsNone(created({"on_close_payload": {"a": 1}}).on_close)

    def test_malformed(self) -> None:
        """Each is refused with the names of all wrong members; nothing of it is an error of ours."""
        for payload in (b"1", b"[]", b"null", b'"x"', b"NaN", b'{"a": NaN}', b'{"on_close_payload": "\xff"}'):
            self.assertEqual([*self.wrong(envelope(payload))], ["payload"], payload)
        deep = b'{"on_close_route": "/a", "on_close_payload": %b1%b}' % (b"[" * 20000, b"]" * 20000)
        self.assertEqual([*self.wrong(envelope(deep))], ["payload"])
        both = self.wrong(envelope(b'{"lifetime": 0, "on_close_route": "a"}'))
        self.assertEqual(sorted(both), ["payload.lifetime", "payload.on_close_route"])
        self.assertIn("payload.on_close_route", self.wrong(envelope(b'{"on_close_route": 5}')))
        self.assertIn("auth_data", self.wrong(b'{"payload": {}}'))
        self.assertIn("session_id", self.wrong(envelope(b"{}")[:-1] + b', "session_id": "abc"}'))

    def test_query(self) -> None:
        """With an assignment in the query the body is the payload. The auth_data is what an envelope would have."""
        wanted = read_create(b'{"lifetime": 5}', signed(cost_lexeme=b"2.50"), 1e9, 3600.0)
        self.assertEqual((wanted.lifetime, json.loads(wanted.auth_data)), (5.0, auth()))
        self.assertIn(b'"cost":2.50', wanted.auth_data)

    def test_cost(self) -> None:
        """The cost has the limit of any request."""
        refusal = self.assertRaises(Refusal, created, {}, max_cost=2.0)
        self.assertIn("auth_data.cost", refusal.fields or {})


class NamedTests(SynchronousTestCase):
    def test_read(self) -> None:
        """The id, and the values of the auth_data; None where these are missing or malformed."""
        named = read_named(json.dumps({"session_id": "s", "session_auth": auth(), "more": 1}).encode())
        self.assertEqual((named.session_id, named.auth), ("s", signed()))
        values: tuple[Any, ...] = (None, {}, [], "x", {**auth(), "cost": "x"}, {**auth(), "cost": 1e308})
        for value in values:
            self.assertIsNone(read_named(json.dumps({"session_id": "s", "session_auth": value}).encode()).auth, value)
        self.assertIsNone(read_named(b'{"session_id": "s"}').auth)

    def test_malformed(self) -> None:
        """No object, no id, or an id that is no text of a moderate length: 422."""
        for body in (b"", b"x", b"[]", b"{}", b'{"session_id": null}', b'{"session_id": 5}', b'{"session_id": ""}'):
            refusal = self.assertRaises(Refusal, read_named, body)
            self.assertEqual((refusal.status, refusal.code), (422, "invalid_envelope"), body)
        self.assertRaises(Refusal, read_named, json.dumps({"session_id": "s" * 5000}).encode())


class PathTests(SynchronousTestCase):
    def test_paths(self) -> None:
        """Paths with queries, dots in names and percent-encoded characters are paths at the backend."""
        for route in ("/", "/end", "/a/b.c/..d/e..?x=//h&y=..", "/a%20b", "/v1/sessions/1;a=2", "/~u/@me:1/*!$'()"):
            self.assertEqual(backend_path(route), route.encode())

    def test_refused(self) -> None:
        """Addresses, control characters, and whatever leaves the backend's path prefix, in any encoding."""
        for route in (
            *("", "end", "http://h/", "//h", "///h", "/\\h", "/%2fh", "/%2Fh/x", "/%5ch", "/%252fh", "*", "?x", "h:80"),
            *("/a\r\nX: 1", "/a b", "/a\tb", "/a\x00", "/a%0d%0ab", "/a%00", "/a%250a", "/a#b", "/ä", "/a%", "/a%zz"),
            *("/..", "/../a", "/a/..", "/a/../b", "/.", "/a/./b", "/%2e%2e/a", "/.%2E", "/a%2f..%2fb", "/a%5c..%5cb"),
            *("/%252e%252e/", "/..;/a", "/..;x=1", "/%2e%2e%3b/", "/%" + "25" * 9 + "2e", "/" + "a" * 2048),
            *('/a"b', "/a<b>", "/a|b", "/a{b}", "/a[0]", "/a^b", "/a`b"),
        ):
            self.assertRaises(ValueError, backend_path, route)

    @given(st.text(alphabet="/.%25eEfF2cC\\;?ax", max_size=24))
    def test_never_leaves(self, text: str) -> None:
        """What passes has no dot segment, and begins with one slash, after any number of decodings."""
        try:
            target = backend_path("/" + text)
        except ValueError:
            return
        path = target.decode().partition("?")[0]
        for _ in range(30):
            self.assertFalse(path.startswith(("//", "/\\")))
            self.assertFalse({".", ".."} & set(path.replace("\\", "/").split("/")))
            path = unquote(path, "latin-1")
