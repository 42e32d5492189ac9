"""A head in pieces gives the same result as in one read, and each piece costs work for its own bytes only."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.protocol.heads import described, filled, request, response
from tests.protocol.test_head_work import Looked, calls
from tests.protocol.test_head_work import request as get
from tests.protocol.test_head_work import response as ok
from tests.seeds import examples, random_source
from vespa.protocol.head_pieces import HeadPieces, RequestHeadPieces, ResponseHeadPieces
from vespa.protocol.message_head import FIELDS_MAX
from vespa.protocol.refusal import Refusal
from vespa.protocol.request_head import parse_request_head
from vespa.protocol.response_head import BadResponse, parse_response_head

LIMIT = 32768
Pieces = Callable[..., HeadPieces[Any]]
KINDS: tuple[tuple[Pieces, Callable[[bytes], tuple[Any, int]], Callable[[Random], bytes]], ...] = (
    (RequestHeadPieces, parse_request_head, request),
    (ResponseHeadPieces, parse_response_head, response),
)


class PiecesTests(SynchronousTestCase):
    def test_as_whole(self) -> None:
        """A head cut at any place gives the same result as in one read: the same head, or a refusal."""
        for number, (pieces, parse, draw) in enumerate(KINDS):
            source = random_source(9130 + number)
            read = 0
            for _ in range(examples(1000)):
                data = filled(source, draw(source)).lstrip(b"\r\n")
                body = source.choice((b"", b"a", b"\r\n\r\n"))
                cuts = sorted(
                    {0, len(data) + len(body), *source.choices(range(1, len(data)), k=source.choice((1, 2, 9)))}
                )
                try:
                    whole = parse(data)
                except (Refusal, BadResponse):
                    whole = None
                try:
                    got = self.feed(pieces(LIMIT), data + body, cuts)
                except (Refusal, BadResponse):
                    self.assertIsNone(whole, data)
                    continue
                assert whole is not None, data
                read += 1
                head, length, end = got
                self.assertEqual((described(head), length), (described(whole[0]), whole[1]))
                self.assertEqual(end, len(data))
            self.assertGreater(read, examples(300))

    def feed(self, pieces: HeadPieces[Any], data: bytes, cuts: list[int]) -> tuple[Any, int, int]:
        for start, stop in zip(cuts, cuts[1:], strict=False):
            head, end, length = pieces.feed(data[start:stop])
            if head is not None:
                return head, length, start + end
            self.assertEqual(end, stop - start)
            self.assertEqual(pieces.held, data[:stop])
        raise AssertionError("the end was fed")

    def test_limits(self) -> None:
        """A head over the limit is refused at the first byte over it, and not before."""
        for pieces, data in ((RequestHeadPieces, get(b"A: b")), (ResponseHeadPieces, ok(b"A: b"))):
            for limit in (10, len(data) - 1):
                cut = pieces(limit)
                for at in range(limit):
                    self.assertIsNone(cut.feed(data[at : at + 1])[0])
                self.assertRaises((Refusal, BadResponse), cut.feed, data[limit : limit + 1])
            fed = pieces(len(data))
            fed.feed(data[:-1])
            self.assertIsNotNone(fed.feed(data[-1:])[0])
            few = pieces(LIMIT, data.count(b"\r\n") - 3)
            few.feed(data[:-1])
            self.assertRaises((Refusal, BadResponse), few.feed, data[-1:])

    def test_byte_by_byte(self) -> None:
        """A head that comes in pieces of one byte is looked at a few times, not once for each piece."""
        for pieces, make in ((RequestHeadPieces, get), (ResponseHeadPieces, ok)):
            looked, called = [], []
            for size in (2000, 4000):
                data = make(b"X-Long: " + b"v" * size)
                held = Looked()
                fed = pieces(LIMIT, FIELDS_MAX, held)
                called.append(calls(lambda fed=fed, data=data: [fed.feed(bytes((byte,))) for byte in data]))
                looked.append(held.looked)
                self.assertGreater(held.looked, size)
            self.assertLess(looked[1], 2 * looked[0] + 100)
            self.assertLess(called[1], 2.1 * called[0])
