from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.protocol.heads import filled, request
from tests.seeds import examples, random_source
from vespa.protocol.refusal import Refusal
from vespa.protocol.request_head import PLAIN_BYTES_MAX, RequestHead, parse_request_head

POST = b"POST /a?b HTTP/1.1"


def head(*lines: bytes, first: bytes = POST, host: bytes = b"Host: x") -> RequestHead:
    return parse_request_head(b"\r\n".join([first, host, *lines]) + b"\r\n\r\n")[0]


class PlainTests(SynchronousTestCase):
    def test_plain(self) -> None:
        """A usual request with or without a length is plain, also if it states defaults."""
        for lines in (
            [],
            [b"Content-Length: 0"],
            [b"Content-Length: 5"],
            [b"CONTENT-LENGTH:05"],
            [b"Connection: keep-alive"],
            [b"Keep-Alive: timeout=5", b"Connection: Keep-Alive, x", b"X: y"],
            [b"Authorization: Bearer x", b"X-Forwarded-For: 1.2.3.4", b"Accept: */*", b"Cookie: a"],
        ):
            self.assertTrue(head(*lines).plain, lines)
        self.assertTrue(head(first=b"GET / HTTP/1.1").plain)
        self.assertTrue(head(first=b"GET http://x HTTP/1.1").plain)
        self.assertTrue(head(first=b"OPTIONS / HTTP/1.1").plain)

    def test_not_plain(self) -> None:
        """A head that needs further checks is not plain."""
        for line in (
            b"Connection: close",
            b"Connection: x, CLOSE",
            b"Transfer-Encoding: chunked",
            b"Expect: 100-continue",
            b"Upgrade: websocket",
            b"Via: 1.1 x",
            b"Origin: http://x",
            b"Referer: http://x/y",
            b"Max-Forwards: 5",
            b"X: " + b"y" * PLAIN_BYTES_MAX,
        ):
            self.assertFalse(head(line).plain, line)
        for first in (b"HEAD / HTTP/1.1", b"GET / HTTP/1.0", b"OPTIONS * HTTP/1.1", b"OPTIONS http://x HTTP/1.0"):
            self.assertFalse(head(first=first).plain, first)
        self.assertFalse(head(b"Connection: keep-alive", first=b"GET / HTTP/1.0").plain)

    def test_size(self) -> None:
        """A head of `PLAIN_BYTES_MAX` bytes is plain, one of a byte more is not."""
        room = PLAIN_BYTES_MAX - len(POST) - len(b"\r\nHost: x\r\nX: \r\n\r\n")
        self.assertTrue(head(b"X: " + b"y" * room).plain)
        self.assertFalse(head(b"X: " + b"y" * (room + 1)).plain)

    def test_nothing_unusual_is_plain(self) -> None:
        """Any head that is called plain has nothing unusual."""
        source = random_source(9110)
        plain = 0
        for _ in range(examples(1000)):
            try:
                found = parse_request_head(filled(source, request(source)).lstrip(b"\r\n"))[0]
            except Refusal:
                continue
            unusual = (
                not found.minor
                or not found.keep_alive
                or found.chunked
                or found.expects_continue
                or found.upgrade
                or found.via
                or found.sources
                or found.head_only
                or found.max_forwards is not None
                or not found.target.startswith(b"/")
            )
            self.assertEqual(found.plain, not unusual)
            plain += found.plain
        self.assertGreater(plain, examples(100))


class BodyTests(SynchronousTestCase):
    def test_length(self) -> None:
        """The body's length is told beside the head, which knows whether there is a Content-Length, and a body."""
        for line, length, has_length, has_body in (
            (b"A: b", 0, False, False),
            (b"Content-Length: 0", 0, True, False),
            (b"Content-Length: 000", 0, True, False),
            (b"content-LENGTH:\t007 ", 7, True, True),
            (b"Content-Length: 999999999999999999", 10**18 - 1, True, True),
            (b"Transfer-Encoding: Chunked", 0, False, True),
        ):
            found, told = parse_request_head(b"%b\r\nHost: x\r\n%b\r\n\r\n" % (POST, line))
            self.assertEqual((told, found.has_length, found.has_body), (length, has_length, has_body), line)

    def test_head_only(self) -> None:
        """The response to HEAD has no body, whatever its case-sensitive neighbours."""
        self.assertTrue(head(first=b"HEAD / HTTP/1.1").head_only)
        self.assertFalse(head(first=b"GET / HTTP/1.1").head_only)


class FieldsTests(SynchronousTestCase):
    def test_block(self) -> None:
        """`fields_block` are the lines that pass, in order, each with its line break; b"" where none passes."""
        found = head(b"B: 1", b"Connection: x", b"A:2 ", b"X: y", b"Te: z", b"Content-Length: 5", b"b: 3")
        self.assertEqual(found.passing, [b"B: 1", b"A:2 ", b"b: 3"])
        self.assertEqual(found.fields_block, b"B: 1\r\nA:2 \r\nb: 3\r\n")
        self.assertEqual(head().fields_block, b"")
        self.assertEqual(found.headers[:2], [(b"Host", b"x"), (b"B", b"1")])

    def test_many_fields(self) -> None:
        """As many fields as the limit says, Host counted, and no more."""
        data = b"\r\n".join([POST, b"Host: x", *[b"A: b"] * 9]) + b"\r\n\r\n"
        parse_request_head(data, 10)
        self.assertEqual(self.assertRaises(Refusal, parse_request_head, data, 9).status, 431)
