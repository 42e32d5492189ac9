from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vespa.protocol.chunked import BadChunk, Chunked, known_sizes

EXTENSIONS = (b"", b"", b";a", b' ;\ta="b\\"c"', b"; a = b")
TRAILERS = (b"", b"A: b\r\n", b"A:\r\nB: c\r\n")


@st.composite
def chunks(draw: st.DrawFn) -> list[bytes]:
    """Whole chunks, the last one of which, with the trailers, ends the body."""
    contents = draw(st.lists(st.binary(min_size=1, max_size=40), max_size=6))
    found = [b"%x%b\r\n%b\r\n" % (len(each), draw(st.sampled_from(EXTENSIONS)), each) for each in contents]
    return [*found, b"0\r\n" + draw(st.sampled_from(TRAILERS)) + b"\r\n"]


def content(chunk: bytes) -> bytes:
    line, _, rest = chunk.partition(b"\r\n")
    return rest[: int(line.split(b";")[0], 16)]


class WalkerTests(SynchronousTestCase):
    @given(chunks(), st.binary(max_size=5), st.lists(st.integers(1, 200), max_size=5), st.booleans())
    def test_wherever_it_is_cut(self, body: list[bytes], behind: bytes, places: list[int], decoded: bool) -> None:
        """The end of a body is found where it is and its content handed out, wherever the reads were cut."""
        data, ends = b"".join(body), [0]
        for chunk in body:
            ends.append(ends[-1] + len(chunk))
        cuts = sorted({0, *(place for place in places if place < len(data)), len(data + behind)})
        walker = Chunked()
        pieces: list[bytes] | None = [] if decoded else None
        for start, stop in pairwise(cuts):
            end = walker.feed((data + behind)[start:stop], pieces)
            if end >= 0:
                self.assertEqual(start + end, len(data))
                break
            self.assertEqual(walker.between_chunks, stop in ends[:-1], (data, stop))
        else:
            self.fail("the end was not found")
        if pieces is not None:
            self.assertEqual(b"".join(pieces), b"".join(map(content, body)))

    def test_between_chunks(self) -> None:
        """A walker stands between chunks at first, and behind each line break that ends one."""
        walker = Chunked()
        self.assertTrue(walker.between_chunks)
        for data, between in (
            (b"5", False),
            (b"\r", False),
            (b"\n", False),
            (b"hell", False),
            (b"o", False),
            (b"\r", False),
            (b"\n", True),
            (b"5\r\nhello\r\n", True),
            (b"5\r\nhello\r\n5\r\nhello\r\n", True),
            (b"5\r\nhello\r\n5", False),
            (b"\r\nhello\r\n0\r\n", False),
        ):
            self.assertEqual(walker.feed(data), -1)
            self.assertEqual(walker.between_chunks, between, data)
        self.assertEqual(walker.feed(b"\r\nx"), 2)
        self.assertFalse(walker.between_chunks)

    def test_bad(self) -> None:
        """An invalid chunk is refused at once, even before its end has arrived."""
        for data in (
            b"g",
            b"\r\n",
            b" 5\r\n",
            b"5 \r\n",
            b"5\n",
            b"0x5\r\n",
            b"+5\r\n",
            b"1" * 16 + b"\r\n",
            b"5;\r\n",
            b"5\r\nhellox",
            b"5\r\nhello\n",
            b"0\r\nA b\r\n",
            b"0\r\n A: b\r\n",
            b"5" * 5000,
            b"0\r\n" + b"A: b\r\n" * 5000,
        ):
            kinds: tuple[list[bytes] | None, ...] = ([], None)
            for pieces in kinds:
                self.assertRaises(BadChunk, Chunked().feed, data, pieces)

    def test_one_known_chunk(self) -> None:
        """A read of one whole chunk is taken as such only where the size is right and a chunk may begin."""
        Chunked().feed(b"5\r\nhello\r\n")
        for data in (b"5\r\nhell\r\n", b"5\r\nhelloo\r\n", b"5\r\nhello\r\nx", b"5\r\nhello\n\r\n"):
            walker = Chunked()
            try:
                walker.feed(data)
            except BadChunk:
                continue
            self.assertFalse(walker.between_chunks, data)
        inside = Chunked()
        inside.feed(b"a\r\n")
        self.assertEqual(inside.feed(b"5\r\nhello\r\n"), -1)
        self.assertFalse(inside.between_chunks, "that was content of the chunk before")
        self.assertRaises(BadChunk, inside.feed, b"0\r\n\r\n")


class KnownSizeTests(SynchronousTestCase):
    def test_known_sizes(self) -> None:
        """A size line is remembered, byte for byte, after its first use; one with extensions never is."""
        for line, size in ((b"1f", 31), (b"1F", 31), (b"001f", 31)):
            Chunked().feed(line + b"\r\n")
            self.assertEqual(known_sizes.get(line), size)
        Chunked().feed(b"2e;a\r\n")
        self.assertIsNone(known_sizes.get(b"2e;a"))
        for line in (b"", b"g", b"-1", b"+5", b" 5", b"5 "):
            self.assertRaises(BadChunk, Chunked().feed, line + b"\r\n")
            self.assertIsNone(known_sizes.get(line))

    def test_bounded(self) -> None:
        """The number of remembered size lines is limited."""
        for size in range(1, 10000):
            Chunked().feed(b"%x\r\n" % size)
        self.assertLess(sum(known_sizes.get(b"%x" % size) is not None for size in range(10000)), 4097)
