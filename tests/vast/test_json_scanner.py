from __future__ import annotations

import json
import sys
import tracemalloc
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.seeds import examples
from vespa.vast.json_scanner import GREATEST_WINDOW, LEAST_WINDOW, Malformed, Scanner

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False)
)
TEXTS = st.one_of(
    st.text(max_size=20),
    st.text('\\"[]{}\x00\x1f/é', max_size=20),
    st.builds("{}{}".format, st.text('\\"x'), st.text()),
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS | TEXTS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXTS, inner, max_size=5),
    max_leaves=25,
)


@st.composite
def documents(draw: st.DrawFn, growth: int = 2) -> bytes:
    """JSON in all the ways it is commonly written, with more growth some of it long enough for larger windows."""
    value = draw(VALUES)
    for _ in range(draw(st.integers(0, growth))):
        value = draw(
            st.sampled_from([[value] * 50, {"a": value, "b": [value]}, [value, "x" * 700, value], [[[[value]]]]])
        )
    text = json.dumps(
        value,
        ensure_ascii=draw(st.booleans()),
        indent=draw(st.sampled_from([None, 1, "\t"])),
        separators=draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", "\r: ")])),
    )
    return text.encode("utf-8", "replace")


FRAGMENTS = st.one_of(
    st.sampled_from(
        [
            b"[",
            b"]",
            b"{",
            b"}",
            b"[]",
            b"[[]]",
            b'"',
            b'""',
            b'"a"',
            b"\\",
            b"\\\\",
            b'\\"',
            b"\x00",
            b"1,",
            b" ",
            b"\xff",
        ]
    ),
    st.binary(max_size=3),
)
GARBAGE = st.lists(
    st.builds(bytes.__mul__, FRAGMENTS, st.sampled_from([1, 1, 1, 2, 3, 60, 127, 128, 129, 700])), max_size=12
).map(b"".join)
"""Anything, most of it of what matters to the scanner, with runs longer than its smaller windows."""

NEARLY = st.builds(bytes.__add__, st.sampled_from([b"[", b"[[", b'"', b'["', b'{"a":', b"1"]), GARBAGE)


def automaton(data: bytes) -> int | str:
    """What the scanner is to say of `data`, found in the plainest way: an offset, -1, or "malformed"."""
    depth, in_string, escaped = 0, False, False
    word = b"+-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    if data and data[0] not in b'[{"' + word:
        return "malformed"
    if data and data[0] in word:
        return next((i for i, byte in enumerate(data) if byte not in word), -1)
    for i, byte in enumerate(data):
        if escaped:
            escaped = False
        elif in_string:
            escaped = byte == 0x5C
            in_string = byte != 0x22
        elif byte in b"\\\x00":
            return "malformed"
        else:
            in_string = byte == 0x22
            depth += (byte in b"[{") - (byte in b"]}")
        if depth == 0 and not in_string:
            return i + 1
    return -1


def scan(chunks: list[bytes], scanner: Scanner | None = None) -> int | str:
    """What the scanner says of the chunks, as an offset in all of them."""
    scanner = scanner or Scanner()
    before = 0
    for chunk in chunks:
        try:
            end = scanner.feed(chunk)
        except Malformed:
            return "malformed"
        if end >= 0:
            assert scanner.length == before + end
            return before + end
        before += len(chunk)
    assert scanner.length == before
    return -1


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    """`data` in chunks of these sizes, one after the other and over again."""
    chunks = []
    start = turn = 0
    while start < len(data):
        size = sizes[turn % len(sizes)]
        chunks.append(data[start : start + size])
        start += size
        turn += 1
    return chunks


CUTS = st.lists(st.sampled_from([1, 2, 3, 7, 64, 127, 128, 129, 130, 500, 5000]), min_size=1, max_size=4)


class Meter(Scanner):
    """A scanner that counts the bytes it looks at, as often as it does."""

    def __init__(self) -> None:
        super().__init__()
        self.looked_at = 0
        self.widest = 0

    def _leap(self, data: bytes, start: int, stop: int) -> bool:
        self.looked_at += stop - start
        self.widest = max(self.widest, stop - start)
        return super()._leap(data, start, stop)

    def _walk(self, data: bytes, start: int, stop: int) -> int:
        end = super()._walk(data, start, stop)
        self.looked_at += (stop if end < 0 else end) - start
        return end


class TestBoundary(SynchronousTestCase):
    @given(documents(), st.sampled_from([b"}", b" ", b",", b",\\\x00", b']}"', b'}, "a": [{"\\"']))
    def test_a_value_ends_where_it_ends(self, document: bytes, following: bytes) -> None:
        """In valid JSON the value's end is found, whatever follows it."""
        self.assertEqual(scan([document + following]), len(document))

    @given(st.lists(documents(), min_size=1, max_size=4), CUTS)
    def test_json_and_msgspec_agree_on_the_end(self, values: list[bytes], sizes: list[int]) -> None:
        """Of values in a row each ends where `json` and `msgspec` say."""
        body = b"[" + b" ,".join(values) + b"]"
        raws = [bytes(raw) for raw in msgspec.json.decode(body, type=list[msgspec.Raw])]
        text = body.decode()
        start = 1
        for raw in raws:
            end = json.JSONDecoder().raw_decode(text, len(body[:start].decode()))[1]
            self.assertEqual(len(text[:end].encode()), start + len(raw))
            self.assertEqual(scan(cut(body[start:], sizes)), len(raw))
            start += len(raw) + 2

    def test_kinds_of_brackets_are_not_told_apart(self) -> None:
        """The end is the return to depth 0, and what is not JSON is left for its reader to refuse."""
        self.assertEqual(scan([b'[{"a":1]}, 2']), 9)

    def test_a_string_of_escaped_quotes_has_not_ended(self) -> None:
        """A string goes on as long as each of its quotes is escaped."""
        for size in (1, 100, 1000, 100_000):
            self.assertEqual(scan([b'"' + b'\\"' * size]), -1)
            self.assertEqual(scan([b'"' + b'\\"' * size, b'" "']), 2 * size + 2)
            self.assertEqual(scan([b'"' + b"\\\\" * size + b'" "']), 2 * size + 2)

    def test_any_depth(self) -> None:
        """A value may be deeper than any parser's stack."""
        self.assertEqual(scan(cut(b"[" * 300_000 + b"]" * 300_001, [50_000])), 600_000)

    def test_no_value_begins_with_a_mark(self) -> None:
        """What can begin no value is malformed at its first byte."""
        for byte in range(256):
            begins = bytes((byte,))
            self.assertEqual(scan([begins, b"x"]) == "malformed", not (begins.isalnum() or begins in b'-+.[{"'), begins)

    def test_an_escape_outside_strings_is_malformed(self) -> None:
        """A backslash or a NUL outside strings is refused, however far in, and not where it follows the end."""
        for wrong in (b"\\", b'\\"', b"\\\\", b"\x00", b"\x00\x00"):
            for size in (0, 100, 1000, 100_000):
                value = b"[" + b'"a\\\\",' * size
                self.assertEqual(scan([value + wrong + b'"]']), "malformed")
                self.assertEqual(scan([value + b"0]" + wrong]), len(value) + 2)


class TestSplits(SynchronousTestCase):
    @given(st.one_of(documents(), NEARLY, GARBAGE), CUTS)
    def test_the_verdict_does_not_depend_on_the_cuts(self, data: bytes, sizes: list[int]) -> None:
        """For any bytes at all, in any chunks, the scanner says what the plain automaton says."""
        self.assertEqual(scan([data]), automaton(data))
        self.assertEqual(scan(cut(data, sizes)), automaton(data))

    @settings(max_examples=examples(40))
    @given(st.one_of(documents().map(lambda value: value + b",x"), NEARLY.map(lambda data: data[:600])))
    def test_every_cut_in_two(self, data: bytes) -> None:
        """Cut in two at any place, the bytes get the same verdict."""
        data = data[:1500]
        whole = automaton(data)
        for place in range(len(data) + 1):
            self.assertEqual(scan([data[:place], data[place:]]), whole)

    @given(NEARLY, st.binary(max_size=20), st.binary(max_size=20), CUTS)
    def test_only_the_given_part_is_looked_at(self, data: bytes, before: bytes, after: bytes, sizes: list[int]) -> None:
        """With bounds, offsets count from the chunk's beginning, and what lies outside the bounds says nothing."""
        expected = automaton(data)
        scanner = Scanner()
        done = 0
        for chunk in cut(data, sizes):
            try:
                end = scanner.feed(before + chunk + after, len(before), len(before) + len(chunk))
            except Malformed:
                self.assertEqual(expected, "malformed")
                return
            if end >= 0:
                self.assertEqual(done + end - len(before), expected)
                return
            done += len(chunk)
        self.assertEqual(expected, -1)


class TestCost(SynchronousTestCase):
    def check(self, value: bytes, following: bytes, sizes: list[int]) -> None:
        meter = Meter()
        self.assertEqual(scan(cut(value + following, sizes), meter), len(value))
        self.assertLessEqual(meter.looked_at, 4 * len(value) + 4 * LEAST_WINDOW)
        self.assertLessEqual(meter.widest, GREATEST_WINDOW)

    @given(documents(), st.sampled_from([b"}" * 300_000, b', "' + b"x" * 300_000, b"\\" * 300_000]), CUTS)
    def test_work_is_linear_in_the_value(self, value: bytes, following: bytes, sizes: list[int]) -> None:
        """No more than four times the value's own length is looked at, however much follows it."""
        self.check(value, following, [1_000_000])
        self.check(value, following[:1000], sizes)

    def test_work_is_linear_in_hard_values(self) -> None:
        """The same holds of values made to be hard."""
        for value in (
            b"[" * 100_000 + b"]" * 100_000,
            b"[" + b"[]," * 70_000 + b"0]",
            b"[" + (b"[" * 50 + b"]" * 50 + b",") * 2000 + b"0]",
            b"[" + b'"",' * 70_000 + b"0]",
            b'"' + b'\\"' * 100_000 + b'"',
            b'["' + b"\\\\" * 100_000 + b'"]',
            b"1" * 200_000,
        ):
            for size in (1, 100, 1448, 16384, 65536, 10**6):
                self.check(value, b",", [size])

    def test_memory_is_constant(self) -> None:
        """What is kept does not grow with the value, and what is used on the way is bounded by the window."""
        for begin, chunk in (
            (b'"', b"a" * 200_000),
            (b'["', b"\\\\" * 100_000),
            (b"[", b"[" * 200_000),
            (b"[", b'"ab"ab' * 33_000),
            (b"[", b"[]" * 100_000),
            (b"", b"1" * 200_000),
        ):
            scanner = Scanner()
            scan([begin + chunk], scanner)
            tracemalloc.start()
            try:
                for _ in range(30):
                    self.assertEqual(scanner.feed(chunk), -1)
                left, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            self.assertLess(left, 1000)
            self.assertLess(peak, 40 * GREATEST_WINDOW)
            self.assertLess(sum(sys.getsizeof(getattr(scanner, name)) for name in Scanner.__slots__), 250)
