from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vespa.protocol.body_decoder import UNKNOWN, BodyDecoder
from vespa.protocol.refusal import Refusal
from vespa.protocol.request_head import RequestHead, parse_request_head


def head(line: bytes) -> tuple[RequestHead, int]:
    return parse_request_head(b"POST / HTTP/1.1\r\nHost: x\r\n%b\r\n\r\n" % line)


def chunked(content: bytes) -> bytes:
    return (b"%x\r\n%b\r\n" % (len(content), content) if content else b"") + b"0\r\n\r\n"


CONTENTS = st.binary(max_size=30)


class DecoderTests(SynchronousTestCase):
    @given(st.lists(st.tuples(CONTENTS, st.booleans()), max_size=4), st.lists(st.integers(0, 200), max_size=9))
    def test_bodies_one_after_the_other(self, bodies: list[tuple[bytes, bool]], places: list[int]) -> None:
        """Each body's content comes out, and nothing of the next, wherever the reads were cut."""
        decoder = BodyDecoder()
        for content, in_chunks in bodies:
            data = chunked(content) if in_chunks else content
            decoder.begin(*head(b"Transfer-Encoding: chunked" if in_chunks else b"Content-Length: %d" % len(content)))
            cuts = sorted({0, *(place for place in places if place < len(data)), len(data)})
            got = b""
            for start, stop in pairwise(cuts):
                self.assertEqual(decoder.received, start)
                self.assertEqual(decoder.left, UNKNOWN if in_chunks else len(data) - start)
                last = stop == len(data)
                piece, rest = decoder.feed(data[start:stop] + (b"next" if last else b""))
                self.assertEqual(rest, b"next" if last else b"")
                got += piece
            self.assertEqual((got, decoder.received, decoder.left), (content, len(data), 0))

    def test_skipped(self) -> None:
        """Bytes that were moved by other means count as received, and the decoder does not wait for them."""
        decoder = BodyDecoder()
        decoder.begin(*head(b"Content-Length: 10"))
        decoder.feed(b"abc")
        decoder.skip(5)
        self.assertEqual((decoder.received, decoder.left), (8, 2))
        self.assertEqual(decoder.feed(b"dex"), (b"de", b"x"))

    def test_left_within(self) -> None:
        """A body is "nearly complete" only if its length is known or it has ended."""
        decoder = BodyDecoder()
        self.assertTrue(decoder.left_within(0))
        decoder.begin(*head(b"Content-Length: 10"))
        self.assertTrue(decoder.left_within(10))
        self.assertFalse(decoder.left_within(9))
        decoder.begin(*head(b"Transfer-Encoding: chunked"))
        self.assertFalse(decoder.left_within(10**9))
        decoder.feed(b"0\r\n\r\n")
        self.assertTrue(decoder.left_within(0))

    def test_bad_chunks(self) -> None:
        """A body that is not in the chunked coding is refused, and the error says why."""
        decoder = BodyDecoder()
        decoder.begin(*head(b"Transfer-Encoding: chunked"))
        refusal = self.assertRaises(Refusal, decoder.feed, b"g\r\n")
        self.assertEqual((refusal.status, refusal.code), (400, "bad_request"))
        self.assertIn("bad chunk size", refusal.message)
