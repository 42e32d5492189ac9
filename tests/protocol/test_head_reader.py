from __future__ import annotations

from collections.abc import Callable
from types import FrameType
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.frames import profiled
from tests.protocol.heads import described, messages, outcome, request, response
from tests.seeds import examples, random_source
from vespa.protocol.head_reader import REQUESTS, RESPONSES, HeadKind, HeadReader, forget_heads
from vespa.protocol.refusal import Refusal
from vespa.protocol.response_head import BadResponse

LIMIT = 32768
COUNT = examples(3000)
KINDS: tuple[tuple[HeadKind[Any], Any], ...] = ((REQUESTS, request), (RESPONSES, response))


def python_calls(work: Callable[..., object]) -> int:
    """How many calls of Python functions the work makes, itself left out."""
    count = -1

    def counted(frame: FrameType, event: str, arg: Any) -> None:
        nonlocal count
        count += event == "call"

    profiled(counted, work)
    return count


def post(*lines: bytes, host: bytes = b"x") -> bytes:
    return b"\r\n".join([b"POST / HTTP/1.1", b"Host: " + host, *lines]) + b"\r\n\r\n"


def ok(*lines: bytes) -> bytes:
    return b"\r\n".join([b"HTTP/1.1 200 OK", *lines]) + b"\r\n\r\n"


MAKERS: tuple[tuple[HeadKind[Any], Callable[..., bytes]], ...] = ((REQUESTS, post), (RESPONSES, ok))


class KnownHeadTests(SynchronousTestCase):
    """A remembered head gives the same result as a new one."""

    def setUp(self) -> None:
        forget_heads()
        self.addCleanup(forget_heads)

    def cold(self, kind: HeadKind[Any], data: bytes) -> Any:
        forget_heads()
        return outcome(HeadReader(kind, LIMIT).read, data)

    def test_warm_as_cold(self) -> None:
        """Earlier heads, of this connection or of others, do not change the result for a head, nor its errors."""
        for number, (kind, draw) in enumerate(KINDS):
            source = random_source(9100 + number)
            data = messages(source, draw, COUNT)
            cold = [self.cold(kind, each) for each in data]
            few = [HeadReader(kind, LIMIT) for _ in range(3)]
            readers = (
                lambda few=few: few[0],  # nearly always the connection's own last head
                lambda kind=kind: HeadReader(kind, LIMIT),  # always the table
                lambda few=few, source=source: source.choice(few),
            )
            for chosen in readers:
                forget_heads()
                for each, expected in zip(data, cold, strict=True):
                    reader = chosen()
                    if reader.unfinished is not None:
                        few[few.index(reader)] = reader = HeadReader(kind, LIMIT)
                    self.assertEqual(outcome(reader.read, each), expected, each)
            refused = sum(found[0] == "refused" for found in cold)
            self.assertTrue(COUNT // 4 < refused < 3 * COUNT // 4, "the draws are worth little")

    def test_heads_are_known_again(self) -> None:
        """The same head with another length is the same object, on its connection and on the next."""
        for kind, make in MAKERS:
            for field in (b"Content-Length: %d", b"content-length: %d"):
                reader = HeadReader(kind, LIMIT)
                first, start, length = reader.read(make(b"A: b", field % 5, b"C: d") + b"hello")
                self.assertEqual(length, 5)
                for size in (1, 23, 456, 10**17):
                    data = make(b"A: b", field % size, b"C: d")
                    for each in (reader, HeadReader(kind, LIMIT), HeadReader(kind, LIMIT)):
                        head, start, length = each.read(data + b"more")
                        self.assertIs(head, first)
                        self.assertEqual((start, length), (len(data), size))

    def test_heads_without_a_body_are_known_again(self) -> None:
        """A head without a length, or with length 0, is also remembered, each as its own object."""
        for kind, make in MAKERS:
            heads = [make(), make(b"Transfer-Encoding: chunked"), make(b"Content-Length: 0"), make(b"A: b")]
            reader = HeadReader(kind, LIMIT)
            found = [reader.read(data)[0] for data in heads]
            self.assertEqual(len(set(map(id, found))), 4)
            for data, head in zip(heads, found, strict=True):
                for each in (reader, reader, HeadReader(kind, LIMIT)):
                    self.assertEqual(each.read(data + b"x"), (head, len(data), 0))
        for size in (0, 1):
            head, _, _ = HeadReader(REQUESTS, LIMIT).read(post(b"Content-Length: %d" % size))
            assert head is not None
            self.assertEqual(head.has_body, bool(size))

    def test_lengths_in_other_spellings(self) -> None:
        """A length in an unusual spelling is part of the key of a remembered head."""
        others: tuple[bytes, ...] = (
            b"CONTENT-LENGTH: %d",
            b"Content-Length:%d",
            b"Content-Length:  %d",
            b"Content-Length:\t%d",
        )
        others += (b"Content-Length: 0%d", b"X: Content-Length: 7\r\nContent-LENGTH: %d")
        for kind, make in MAKERS:
            for other in others:
                reader = HeadReader(kind, LIMIT)
                for size in (5, 6, 5, 0, 7):
                    data = make(other % size)
                    for each in (reader, HeadReader(kind, LIMIT)):
                        self.assertEqual(each.read(data)[1:], (len(data), size), data)

    def test_lengths_that_are_none(self) -> None:
        """A text that is not a number, in the place of a remembered head's length, is refused as usual."""
        values = (b"", b"+5", b"-5", b"5 5", b"5,5", b"0x5", b"5" * 19, b"five", b"\xb2", b"5\n", b"5\r", b"\0")
        for kind, make in MAKERS:
            reader = HeadReader(kind, LIMIT)
            reader.read(make(b"Content-Length: 5"))
            for value in values:
                data = make(b"Content-Length: " + value)
                warm = outcome(reader.read, data), outcome(HeadReader(kind, LIMIT).read, data)
                self.assertEqual(warm, (self.cold(kind, data),) * 2, data)
                self.assertEqual(warm[0][0], "refused", data)
                reader = HeadReader(kind, LIMIT)
                reader.read(make(b"Content-Length: 5"))

    def test_second_lengths(self) -> None:
        """Digits of a field that only looks like Content-Length are no length, whatever they are."""
        hidden = (b"X-Content-Length: %d", b"X: Content-Length: %d", b"X: ontent-Length: %d", b"Xontent-Length: %d")
        for kind, make in MAKERS:
            for lines in ([each, b"Content-Length: 3"] for each in hidden):
                for order in (lines, lines[::-1]):
                    reader = HeadReader(kind, LIMIT)
                    for number in (3, 5, 0, 3):
                        data = make(*(line % number if b"%" in line else line for line in order))
                        for each in (reader, HeadReader(kind, LIMIT)):
                            head, start, length = each.read(data + b"abc")
                            self.assertEqual((start, length), (len(data), 3), data)
                            assert head is not None
                            self.assertIn(lines[0] % number, head.passing)

    def test_calls(self) -> None:
        """One call finds the connection's own last head; three calls find another connection's."""
        for kind, make in MAKERS:
            for lines in ([b"Content-Length: %d"], [b"Transfer-Encoding: chunked"]):
                first, second = (make(*(line % 5 if b"%" in line else line for line in lines)) for _ in range(2))
                reader = HeadReader(kind, LIMIT)
                reader.read(first)
                self.assertEqual(python_calls(lambda reader=reader, data=second: reader.read(data)), 1)
                other = HeadReader(kind, LIMIT)
                self.assertLessEqual(python_calls(lambda reader=other, data=second: reader.read(data)), 3)

    def test_bodies_are_not_looked_at(self) -> None:
        """Bytes behind a head that look like a part of it belong to the body."""
        for kind, make in MAKERS:
            for body in (b"Content-Length: 9\r\n\r\n", b"\r\n\r\n", b"content-length: 9", make(b"Content-Length: 4")):
                for data in (make(), make(b"A: b"), make(b"Content-Length: 0"), make(b"Content-Length: 2")):
                    expected = self.cold(kind, data)
                    reader = HeadReader(kind, LIMIT)
                    for each in (reader, reader, HeadReader(kind, LIMIT)):
                        self.assertEqual(outcome(each.read, data + body), expected)
                    self.assertIs(reader.read(data)[0], HeadReader(kind, LIMIT).read(data + body)[0])

    def test_bounded(self) -> None:
        """The number of remembered heads is limited, and none is long or has many fields."""
        for kind, make in MAKERS:
            for number in range(2000):
                HeadReader(kind, LIMIT).read(make(b"A: %d" % number, b"Content-Length: 5"))
            self.assertLess(len(kind.known), 1000)
            forget_heads()
            for data in (make(b"A: " + b"b" * 1100), make(*[b"A: b"] * 40)):
                reader = HeadReader(kind, LIMIT)
                self.assertIsNot(reader.read(data)[0], reader.read(data)[0])
            self.assertEqual(kind.known, {})

    def test_limits_hold_for_known_heads(self) -> None:
        """A head remembered for other connections is refused if it is over this connection's limits."""
        for kind, make in MAKERS:
            wide = HeadReader(kind, LIMIT)
            data = make(*[b"A: b"] * 30, b"Content-Length: 5")
            longer = make(*[b"A: b"] * 30, b"Content-Length: 55555")
            wide.read(data)
            for _ in range(2):
                narrow = HeadReader(kind, len(data))
                self.assertEqual(narrow.read(data)[1:], (len(data), 5))
                self.assertRaises((Refusal, BadResponse), narrow.read, longer)
                self.assertRaises((Refusal, BadResponse), HeadReader(kind, LIMIT, 8).read, data)


class ReaderTests(SynchronousTestCase):
    def test_unfinished(self) -> None:
        """An incomplete head is continued with the next read, and the result says where the body starts."""
        for kind, make in MAKERS:
            data = make(b"A: b", b"Content-Length: 5")
            for cut in range(1, len(data)):
                reader = HeadReader(kind, LIMIT)
                self.assertEqual(reader.read(data[:cut]), (None, cut, 0))
                assert reader.unfinished is not None
                self.assertEqual(bytes(reader.unfinished.held), data[:cut])
                head, start, length = reader.read_more(data[cut:] + b"hello")
                self.assertEqual((start, length), (len(data) - cut, 5))
                whole, _, _ = HeadReader(kind, LIMIT).read(data)
                assert head is not None and whole is not None
                self.assertEqual(described(head), described(whole))
                self.assertIsNone(reader.unfinished)

    def test_nothing(self) -> None:
        """A read of nothing changes nothing."""
        for kind, make in MAKERS:
            reader = HeadReader(kind, LIMIT)
            for read in (reader.read, reader.read if kind is REQUESTS else reader.read_more):
                self.assertEqual(read(b""), (None, 0, 0))
            read = reader.read if reader.unfinished is None else reader.read_more
            self.assertEqual(read(make())[1:], (len(make()), 0))

    def test_blank_lines(self) -> None:
        """Blank lines before a request are passed over, and are no part of a head (RFC 9112 2.2)."""
        reader = HeadReader(REQUESTS, 40)
        self.assertEqual(reader.read(b"\r\n" * 100), (None, 200, 0))
        self.assertIsNone(reader.unfinished)
        data = post()
        self.assertEqual(reader.read(b"\r\n\n" + data + b"x")[1:], (3 + len(data), 0))
        self.assertEqual(reader.read(b"\r\n" + data[:9]), (None, 11, 0))
        assert reader.unfinished is not None
        self.assertEqual(bytes(reader.unfinished.held), data[:9])
        self.assertRaises(BadResponse, HeadReader(RESPONSES, LIMIT).read, b"\r\n" + ok())

    def test_limits(self) -> None:
        """A head of just so many bytes and fields is read, one more is refused, whole and in pieces."""
        for kind, make in MAKERS:
            for lines in (3, 60):
                data = make(*[b"A: b"] * lines)
                fields = data.count(b"\r\n") - 2
                read = HeadReader(kind, len(data), fields).read
                self.assertEqual(read(data + b"body")[1], len(data))
                for limits in ((len(data) - 1, fields), (len(data), fields - 1)):
                    self.assertRaises((Refusal, BadResponse), HeadReader(kind, *limits).read, data)
                    reader = HeadReader(kind, *limits)
                    reader.read(data[:-1])
                    self.assertRaises((Refusal, BadResponse), reader.read_more, data[-1:])

    def test_wrong_at_once(self) -> None:
        """A malformed line is refused before the head's end has arrived."""
        for data in (b"GET / FTP", b"\x16\x03\x01", b"GET / HTTP/1.1\r\nHost : x", b"X" * 41):
            self.assertRaises(Refusal, HeadReader(REQUESTS, 40).read, data)
        for data in (b"SSH-2.0-x", b"HTTP/1.1 200 OK\n\n", b"HTTP/1.1 200 OK\r\nA: b\n\r\n", b"HTTP/" + b"1" * 36):
            self.assertRaises(BadResponse, HeadReader(RESPONSES, 40).read, data)

    def test_refused_head_requests(self) -> None:
        """A refused head says whether the method was HEAD, because then the response has no body."""
        for first, is_head in ((b"HEAD", True), (b"POST", False), (b"HEADS", False)):
            data = first + b" / HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n"
            reader = HeadReader(REQUESTS, LIMIT)
            self.assertRaises(Refusal, reader.read, b"\r\n" + data)
            self.assertEqual(reader.is_head_request, is_head)
            reader = HeadReader(REQUESTS, LIMIT)
            for at in range(len(data)):
                try:
                    (reader.read_more if at else reader.read)(data[at : at + 1])
                except Refusal:
                    break
                self.assertEqual(reader.is_head_request, is_head and at > 3)
            self.assertEqual(reader.is_head_request, is_head)
