"""The beginning of a body is kept as the response passes, whatever its framing."""

from __future__ import annotations

import gzip
import zlib

from twisted.trial.unittest import SynchronousTestCase

from vespa.protocol.head_reader import RESPONSES, HeadReader
from vespa.protocol.response_head import ResponseHead
from vespa.proxy.body_reader import READ_MAX, BodyReader


def head_of(lines: bytes, status: int = 200) -> ResponseHead:
    head, _, _ = HeadReader(RESPONSES, 65536, 100).read(b"HTTP/1.1 %d OK\r\n%b\r\n" % (status, lines))
    assert head is not None
    return head


class ReaderTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.bodies: list[tuple[bytes, bool]] = []

    def reader(self, lines: bytes) -> BodyReader:
        def ended(body: bytes, whole: bool) -> bool:
            self.bodies.append((body, whole))
            return True

        return BodyReader(head_of(lines), ended)

    def test_length(self) -> None:
        """The parts are put together."""
        reader = self.reader(b"Content-Length: 4\r\n")
        for part in (b"ab", b"c", b"d"):
            reader.read(part)
        self.assertTrue(reader.end())
        self.assertEqual(self.bodies, [(b"abcd", True)])

    def test_chunks(self) -> None:
        """The chunked coding is taken off, wherever it is cut."""
        body = b"2\r\nab\r\n1;x=y\r\nc\r\n0\r\nTrailer: 1\r\n\r\n"
        for at in range(len(body) + 1):
            reader = self.reader(b"Transfer-Encoding: chunked\r\n")
            reader.read(body[:at])
            reader.read(body[at:])
            self.assertTrue(reader.end())
            self.assertEqual(self.bodies.pop(), (b"abc", True), at)

    def test_content_only(self) -> None:
        """Some exchanges get a chunked body without that coding."""
        reader = BodyReader(
            head_of(b"Transfer-Encoding: chunked\r\n"), lambda body, whole: body == b"abc", chunked=False
        )
        reader.read(b"abc")
        self.assertTrue(reader.end())

    def test_long(self) -> None:
        """Of a long response only the beginning is kept."""
        for lines, part in (
            (b"Transfer-Encoding: chunked\r\n", b"8000\r\n" + bytes(0x8000) + b"\r\n"),
            (b"Content-Length: 999999\r\n", bytes(0x8000)),
        ):
            reader = self.reader(lines)
            for _ in range(30):
                reader.read(part)
            self.assertTrue(reader.end())
            self.assertEqual(self.bodies.pop(), (bytes(READ_MAX), False))
        reader = self.reader(b"Transfer-Encoding: chunked\r\n")
        reader.read(b"nonsense\r\n")
        reader.read(b"1\r\na\r\n")
        reader.end()
        self.assertEqual(self.bodies.pop(), (b"", False))

    def test_at_the_limit(self) -> None:
        """A body of `READ_MAX` bytes is whole, and one byte more is not, wherever it is cut."""
        for size, cut, whole in (
            (READ_MAX, 0, True),
            (READ_MAX, 9, True),
            (READ_MAX + 1, 0, False),
            (READ_MAX + 1, 1, False),
        ):
            reader = self.reader(b"Content-Length: 999999\r\n")
            reader.read(bytes(size - cut))
            reader.read(bytes(cut))
            reader.end()
            self.assertEqual(self.bodies.pop(), (bytes(READ_MAX), whole), (size, cut))

    def test_coding(self) -> None:
        """A content coding, which the caller may ask for, hides no job."""
        body = b'{"prompt_id": "abc"}'
        for coding, encode in ((b"gzip", gzip.compress), (b"deflate", zlib.compress), (b"identity", bytes)):
            reader = self.reader(b"Content-Length: 4\r\nContent-Encoding: %b\r\n" % coding)
            reader.read(encode(body))
            reader.end()
            self.assertEqual(self.bodies.pop(), (body, True), coding)
        for coding, data in ((b"br", body), (b"gzip", b"no gzip"), (b"gzip", gzip.compress(bytes(1 << 24)))):
            reader = self.reader(b"Content-Length: 4\r\nContent-Encoding: %b\r\n" % coding)
            reader.read(data)
            reader.end()
            self.assertEqual(self.bodies.pop(), (b"", True), coding)

    def test_lost(self) -> None:
        """A response that breaks has no body."""
        reader = self.reader(b"Content-Length: 4\r\n")
        reader.read(b"ab")
        reader.lost()
        self.assertEqual(self.bodies, [])
