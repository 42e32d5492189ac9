"""A response that may begin a job is read as it passes, whatever its framing."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from vespa.engines.interface import Answer
from vespa.protocol.head_reader import RESPONSES, HeadReader
from vespa.protocol.response_head import ResponseHead
from vespa.worker.job_reader import READ_MAX, JobReader


def head_of(lines: bytes, status: int = 200) -> ResponseHead:
    head, _, _ = HeadReader(RESPONSES, 65536, 100).read(b"HTTP/1.1 %d OK\r\n%b\r\n" % (status, lines))
    assert head is not None
    return head


class ReaderTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.answers: list[Answer] = []

    def reader(self, lines: bytes) -> JobReader:
        def begins(answer: Answer) -> bool:
            self.answers.append(answer)
            return True

        return JobReader(head_of(lines), begins)

    def test_length(self) -> None:
        """The parts are put together."""
        reader = self.reader(b"Content-Length: 4\r\n")
        for part in (b"ab", b"c", b"d"):
            reader.read(part)
        self.assertTrue(reader.end())
        self.assertEqual(self.answers, [Answer(200, b"abcd")])

    def test_chunks(self) -> None:
        """The chunked coding is taken off, wherever it is cut."""
        body = b"2\r\nab\r\n1;x=y\r\nc\r\n0\r\nTrailer: 1\r\n\r\n"
        for at in range(len(body) + 1):
            reader = self.reader(b"Transfer-Encoding: chunked\r\n")
            reader.read(body[:at])
            reader.read(body[at:])
            self.assertTrue(reader.end())
            self.assertEqual(self.answers.pop(), Answer(200, b"abc"), at)

    def test_too_long(self) -> None:
        """A long response is not kept, and begins no job."""
        reader = self.reader(b"Transfer-Encoding: chunked\r\n")
        for _ in range(3):
            reader.read(b"8000\r\n" + bytes(0x8000) + b"\r\n")
        self.assertFalse(reader.end())
        reader = self.reader(b"Content-Length: 999999\r\n")
        reader.read(bytes(READ_MAX + 1))
        self.assertFalse(reader.end())
        reader = self.reader(b"Transfer-Encoding: chunked\r\n")
        reader.read(b"nonsense\r\n")
        self.assertFalse(reader.end())
        self.assertEqual(self.answers, [])

    def test_lost(self) -> None:
        """A response that breaks begins nothing."""
        reader = self.reader(b"Content-Length: 4\r\n")
        reader.read(b"ab")
        reader.lost()
        self.assertEqual(self.answers, [])
