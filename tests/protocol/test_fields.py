from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vespa.protocol import fields
from vespa.protocol.fields import (
    FORWARDED,
    HOP,
    HOST,
    INVALID,
    ORDINARY,
    PASSES,
    folded,
    forget_fields,
    is_host,
    kind_of,
    meaning_of,
    tokens,
)

MARKS = b"!#$%&'*+.^_`|~"


class NameTests(SynchronousTestCase):
    def setUp(self) -> None:
        forget_fields()
        self.addCleanup(forget_fields)

    def test_any_spelling(self) -> None:
        """A name means the same in upper and lower case."""
        for name in (b"Host", b"content-length", b"TE", b"Upgrade", b"X-Forwarded-Host", b"Via", b"X-Other"):
            self.assertEqual(len({kind_of(each) for each in (name, name.lower(), name.upper())}), 1)

    def test_marks(self) -> None:
        """A name that equals one of ours except for its marks has the same kind: servers may take it for that one."""
        for mark in MARKS:
            for name, kind in ((b"Transfer-Encoding", HOP), (b"Content-Length", HOP), (b"X-Real-IP", FORWARDED)):
                self.assertEqual(kind_of(name.replace(b"-", bytes((mark,)))), kind, name)
            self.assertEqual(kind_of(b"X%cForwarded-Anything" % mark), FORWARDED)
            self.assertEqual(kind_of(b"X%cOther" % mark), ORDINARY)

    def test_no_names(self) -> None:
        """A name that is not a token is refused."""
        for name in (b"", b"a b", b"a:", b"\xe4", b"a\0", b"(a)", b"a\r", b"a/b"):
            self.assertEqual(kind_of(name), INVALID, name)

    def test_bounded(self) -> None:
        """Names and lines are remembered up to a number and a length."""
        for number in range(10000):
            kind_of(b"X-%d" % number)
            meaning_of(b"X-%d: %d" % (number, number))
        self.assertLessEqual(len(fields.KINDS), 2048)
        self.assertLessEqual(len(fields.LINES), 4096)
        forget_fields()
        kind_of(b"X" * 65)
        meaning_of(b"X: " + b"y" * 254)
        meaning_of(b"Content-Length: 5")
        self.assertEqual((set(fields.KINDS), fields.LINES), ({b"X", b"Content-Length"}, {}))

    @given(st.binary(max_size=20))
    def test_folded(self, name: bytes) -> None:
        """Folding twice is folding once, and leaves neither upper case nor marks."""
        once = folded(name)
        self.assertEqual(folded(once), once)
        self.assertFalse(set(once) & set(MARKS + b"ABCXYZ"))


class LineTests(SynchronousTestCase):
    def test_meaning(self) -> None:
        """A line that is passed on has no parsed value; others have theirs without surrounding white space."""
        self.assertIs(meaning_of(b"Accept: */*"), PASSES)
        self.assertEqual(meaning_of(b"HOST:\t x:80 "), (HOST, b"x:80"))
        self.assertEqual(meaning_of(b"Host: a, b"), (HOST, b""))

    def test_hosts(self) -> None:
        """A host is a name or an address, with or without a port; no user, no list, no path."""
        for host in (b"x", b"x:80", b"x:", b"[::1]", b"[::1]:80", b"a.b-c_d~", b"127.0.0.1:8000", b"%41"):
            self.assertTrue(is_host(host), host)
        for host in (
            b"",
            b":80",
            b"u@x",
            b"a,b",
            b"a/b",
            b"[::1",
            b"::1",
            b"x:8a",
            b"a b",
            b"x:80:80",
            b"\xe4",
            b"x\n",
        ):
            self.assertFalse(is_host(host), host)

    def test_tokens(self) -> None:
        """The members of a list are in lower case, without blanks, and empty ones are none."""
        self.assertEqual(tokens(b"Close, X-A ,,\tb"), [b"close", b"x-a", b"b"])
        self.assertEqual(tokens(b" , "), [])
