from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vespa.protocol.affinity_key import BODY_MAX, VALUE_MAX, AffinityKey

CHAT = b'{"model": "m", "messages": [{"role": "system", "content": "You are"}, {"role": "user", "content": "x"}]}'


def member(path: str, body: bytes) -> bytes | None:
    return AffinityKey.parse(f"json:{path}").in_body(body)


class FieldTests(SynchronousTestCase):
    def test_found(self) -> None:
        """The field's name is compared without case; of several the first counts; an empty one is none."""
        key = AffinityKey.parse("header:X-User")
        self.assertEqual(key.in_fields([(b"Host", b"w"), (b"x-uSER", b" ann "), (b"X-User", b"bob")]), b"ann")
        self.assertIsNone(key.in_fields([(b"X-Users", b"ann")]))
        self.assertIsNone(key.in_fields([(b"X-User", b"")]))

    def test_long(self) -> None:
        """Only the beginning of a long value counts."""
        key = AffinityKey.parse("header:a")
        self.assertEqual(key.in_fields([(b"a", b"x" * 9000)]), b"x" * VALUE_MAX)


class BodyTests(SynchronousTestCase):
    def test_members(self) -> None:
        """A path leads through objects and lists, and its end may be anything but null and the empty string."""
        self.assertEqual(member("model", CHAT), b'"m"')
        self.assertEqual(member("messages.0.content", CHAT), b'"You are"')
        self.assertEqual(member("messages.1", CHAT), b'{"role": "user", "content": "x"}')
        self.assertEqual(member("0", b' [1.50, {"a": 2}]'), b"1.50")
        self.assertEqual(member("0", b'{"0": true}'), b"true")

    def test_absent(self) -> None:
        """What the path does not lead to is absent: it never fails a request."""
        for path in (
            "user",
            "messages.2.content",
            "messages.x",
            "messages.00000000",
            "model.a",
            "messages.0.content.b",
        ):
            self.assertIsNone(member(path, CHAT), path)
        for body in (b"", b"{", b"[]", b"null", b'{"user": null}', b'{"user": ""}', b"\xff", b'{"user"', b"[" * 5000):
            self.assertIsNone(member("user", body), body[:20])

    def test_bounds(self) -> None:
        """A large body is not read, and of a long value the beginning counts."""
        self.assertIsNone(member("a", b'{"a": 1, "b": "' + b"x" * BODY_MAX + b'"}'))
        self.assertEqual(member("a", json.dumps({"a": "x" * 9000}).encode()), b'"' + b"x" * (VALUE_MAX - 1))

    @given(st.binary(max_size=60), st.sampled_from(("a", "0", "a.0.b", "0.0.0")))
    def test_any_bytes(self, body: bytes, path: str) -> None:
        """Any bytes are read without an error."""
        found = member(path, body)
        self.assertTrue(found is None or found in body)


class ParseTests(SynchronousTestCase):
    def test_as_it_was_written(self) -> None:
        """The text of a key can be parsed again."""
        for text in ("header:x-user", "json:user", "json:messages.0.content"):
            key = AffinityKey.parse(text)
            self.assertEqual((str(key), AffinityKey.parse(str(key))), (text, key))

    def test_wrong(self) -> None:
        """Anything else is refused."""
        for text in (
            "",
            "header",
            "header:",
            "header:a b",
            "header:\xe9",
            "json",
            "json:",
            "json:a.",
            "json:.a",
            "x:y",
        ):
            self.assertRaises(ValueError, AffinityKey.parse, text)
