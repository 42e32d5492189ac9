from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.frames import frames
from tests.worker.usage.replies import (
    ANTHROPIC,
    DONE,
    OLLAMA,
    OPENAI,
    STREAMS,
    VLLM_CONTINUOUS,
    WHOLE,
    chunk,
    events,
    lines,
    usage,
)
from vespa.protocol.chunked import Chunked
from vespa.worker.usage.counts import Counts
from vespa.worker.usage.reader import FINALS_MAX, LIMIT, PARSED_EVERY, Form, UsageReader


class Heard:
    """What a reader told."""

    def __init__(self) -> None:
        self.progressed: list[Counts] = []
        self.result: Counts | None | str = "nothing"

    def progress(self, counts: Counts) -> None:
        self.progressed.append(counts)

    def ended(self, counts: Counts | None) -> None:
        self.result = counts


def heard(form: Form, reads: Sequence[bytes], chunked: bool = False) -> Heard:
    """What a reader tells of a response that comes in these reads."""
    listener = Heard()
    reader = UsageReader(form, chunked, listener)
    for data in reads:
        reader.read(data)
    assert reader.end() is False
    return listener


def in_chunks(pieces: Sequence[bytes]) -> bytes:
    """A body in the chunked coding, with these chunks."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece) + b"0\r\n\r\n"


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    """The bytes, cut at these places."""
    at = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in zip(at, at[1:], strict=False)]


def tokens(result: Counts | None | str) -> tuple[int, int] | None:
    """Generated and prompt tokens."""
    assert not isinstance(result, str)
    return None if result is None else (result.generated, result.prompt)


streams = st.sampled_from([*STREAMS.values(), OLLAMA])
places = st.lists(st.integers(0, 10**6), max_size=12)


def form_of(stream: bytes) -> Form:
    return Form.LINES if stream is OLLAMA else Form.EVENTS


class StreamTests(SynchronousTestCase):
    def test_servers(self) -> None:
        """The streams of the servers that people run report their tokens, in one read and byte by byte."""
        for name, stream in {**STREAMS, "ollama": OLLAMA}.items():
            for reads in ([stream], cut(stream, range(len(stream)))):
                with self.subTest(name, reads=len(reads)):
                    self.assertEqual(tokens(heard(form_of(stream), reads).result), (6, 11))

    @given(streams, places, places, places)
    def test_any_split(self, stream: bytes, reads: list[int], chunks: list[int], chunk_reads: list[int]) -> None:
        """However the bytes were split into reads, and into chunks, what is told at the end is the same."""
        form = form_of(stream)
        whole = heard(form, [stream])
        self.assertEqual(heard(form, cut(stream, reads)).result, whole.result)
        coded = in_chunks(cut(stream, chunks))
        self.assertEqual(heard(form, cut(coded, chunk_reads), chunked=True).result, whole.result)

    @given(streams, places)
    def test_progress_of_any_split(self, stream: bytes, reads: list[int]) -> None:
        """However the bytes were split, what is told on the way never is more than in the end, and its end is told."""
        told = heard(form_of(stream), cut(stream, reads))
        result = told.result
        assert isinstance(result, Counts)
        self.assertTrue(all(counts.generated <= result.generated for counts in told.progressed))
        self.assertTrue(told.progressed[-1].final)

    def test_event_a_chunk(self) -> None:
        """The usual reads of a stream, one chunk with one event in each, are understood without decoding them."""
        reads = [in_chunks([event + b"\n\n"])[:-5] for event in OPENAI.split(b"\n\n") if event] + [b"0\r\n\r\n"]
        decoder = Chunked()
        for data in reads:
            decoder.feed(data)  # as the connection does before, so that their sizes are known
        self.assertEqual(tokens(heard(Form.EVENTS, reads, chunked=True).result), (6, 11))
        reader = UsageReader(Form.EVENTS, True, Heard())
        self.assertEqual(frames(reader.read, reads[0]), ["UsageReader.read"])

    def test_end_is_told_early(self) -> None:
        """The last line with tokens is told when it has passed, not only at the end of the response."""
        for name, stream in {**STREAMS, "ollama": OLLAMA}.items():
            with self.subTest(name):
                listener = Heard()
                UsageReader(form_of(stream), False, listener).read(stream)
                self.assertTrue(listener.progressed[-1].final)
                self.assertEqual(listener.progressed[-1][:2], (6, 11))

    def test_end_without_usage(self) -> None:
        """`[DONE]` says that the backend is done although it reports no tokens."""
        told = heard(Form.EVENTS, [events(chunk("Hi"), end=DONE)])
        self.assertEqual(told.progressed, [Counts(0, 0, True)])
        self.assertIsNone(told.result)

    def test_progress(self) -> None:
        """With the tokens in each event, some of them are told on the way."""
        many = [events(chunk("x", usage=usage(count))) for count in range(1, 101)]
        told = heard(Form.EVENTS, [*many, DONE])
        self.assertEqual([counts.generated for counts in told.progressed], [*range(1, 101, PARSED_EVERY), 100])
        self.assertEqual([counts.final for counts in told.progressed], [False] * 4 + [True])

    def test_broken_off(self) -> None:
        """A stream whose last event with tokens never came does not count by an earlier one that reports no result."""
        start = ANTHROPIC[: ANTHROPIC.index(b"event: message_delta")]
        self.assertIsNone(heard(Form.EVENTS, [start]).result)

    def test_unreadable_last(self) -> None:
        """If the last line with a mark cannot be read, nothing is concluded from those before it."""
        stream = VLLM_CONTINUOUS.replace(b"data: [DONE]\n\n", b'data: {"usage":{"completion_tokens":-5}}\n\n')
        self.assertIsNone(heard(Form.EVENTS, [stream]).result)

    def test_other_fields(self) -> None:
        """Comments, other fields of events, and lines that are no events are passed over."""
        noise = b': {"usage":{"completion_tokens":1}}\nid: {"usage":{"completion_tokens":2}}\n{"eval_count":3}\n\n'
        self.assertIsNone(heard(Form.EVENTS, [noise]).result)
        self.assertEqual(tokens(heard(Form.EVENTS, [noise + OPENAI + noise]).result), (6, 11))

    def test_no_last_line_break(self) -> None:
        """The last line may end with the body."""
        self.assertEqual(tokens(heard(Form.LINES, [OLLAMA[:-1]]).result), (6, 11))

    def test_long_line(self) -> None:
        """A line longer than the limit is left out in any split, and what follows it is read."""
        for length, result in ((LIMIT - 100, (5, 0)), (LIMIT, None)):
            long = lines({"response": "x" * length, "eval_count": 5})
            for reads in ([long], cut(long, range(0, len(long), 1000)), [long[:-1]], cut(long[:-1], [7])):
                with self.subTest(length, reads=len(reads)):
                    self.assertEqual(tokens(heard(Form.LINES, reads).result), result)
                    self.assertEqual(tokens(heard(Form.LINES, [*reads, b"\n", OLLAMA]).result), (6, 11))
                    coded = cut(in_chunks(reads + [b"\n", OLLAMA]), range(0, len(long), 333))
                    self.assertEqual(tokens(heard(Form.LINES, coded, chunked=True).result), (6, 11))

    def test_longest_line(self) -> None:
        """The limit is the same for a line that comes at once and for one that comes in parts."""
        for length, result in ((LIMIT - 1, (5, 0)), (LIMIT, None)):
            line = b'{"eval_count":5,"x":"'
            line += b"x" * (length - len(line) - 2) + b'"}'
            self.assertEqual(len(line), length)
            for reads in ([line + b"\n"], [line, b"\n"], [line[:-9], line[-9:] + b"\n"], [b"\n" + line + b"\n\n"]):
                with self.subTest(length, first=len(reads[0])):
                    self.assertEqual(tokens(heard(Form.LINES, reads).result), result)
                    coded = [in_chunks([data])[:-5] for data in reads]
                    self.assertEqual(tokens(heard(Form.LINES, [*coded, b"0\r\n\r\n"], chunked=True).result), result)

    def test_after_a_long_line(self) -> None:
        """The rest of a line that is too long may come in a read that looks like one with whole lines."""
        begin, rest = b'data: {"a":"' + b"x" * LIMIT, events(chunk(None, usage=usage(9)))[:-1]
        decoder = Chunked()
        decoder.feed(in_chunks([rest]))  # so that its size is known
        coded = [in_chunks([data])[:-5] for data in (begin, rest)]
        self.assertIsNone(heard(Form.EVENTS, [*coded, b"0\r\n\r\n"], chunked=True).result)
        self.assertIsNone(heard(Form.EVENTS, [begin, rest]).result)

    def test_chunk_in_a_chunk(self) -> None:
        """What looks like a chunk may be the content of one that has not ended."""
        inner = in_chunks([b"data: {}\n"])[:-5]
        Chunked().feed(inner)
        content = b"data: {}\n" + inner
        outer = in_chunks([content])[:-5]
        at = outer.index(inner)
        reads = [outer[:at], inner, outer[at + len(inner) :] + in_chunks([OPENAI])]
        self.assertEqual(tokens(heard(Form.EVENTS, reads, chunked=True).result), (6, 11))

    def test_several_ends(self) -> None:
        """The end of a stream is told once."""
        told = heard(Form.EVENTS, [DONE, DONE * 5, DONE])
        self.assertEqual(told.progressed, [Counts(0, 0, True)])


class WholeTests(SynchronousTestCase):
    def test_servers(self) -> None:
        """Whole replies are parsed at their end."""
        for name, (reply, counts) in WHOLE.items():
            with self.subTest(name):
                told = heard(Form.WHOLE, cut(json.dumps(reply, indent=1).encode(), [5, 40]))
                self.assertEqual((told.progressed, told.result), ([], counts))

    @given(places, places)
    def test_any_split(self, chunks: list[int], reads: list[int]) -> None:
        """In chunks and in any reads it is the same."""
        body = json.dumps(WHOLE["chat"][0], indent=1).encode() + b"\n"
        told = heard(Form.WHOLE, cut(in_chunks(cut(body, chunks)), reads), chunked=True)
        self.assertEqual(told.result, Counts(6, 11))

    def test_longest(self) -> None:
        """A body of the limit is read, and one byte more is not."""
        body = json.dumps({"usage": usage(6)}).encode()
        body += b" " * (LIMIT - len(body))
        for reads in ([body], cut(body, [9, 9000])):
            self.assertEqual(heard(Form.WHOLE, reads).result, Counts(6, 11))
            self.assertIsNone(heard(Form.WHOLE, [*reads, b" "]).result)

    def test_too_long(self) -> None:
        """A body over the limit is not read."""
        body = json.dumps({"a": "x" * LIMIT, "usage": usage(6)}).encode()
        self.assertIsNone(heard(Form.WHOLE, cut(body, [9])).result)
        self.assertIsNone(heard(Form.WHOLE, [in_chunks(cut(body, [9, 9000]))], chunked=True).result)


def adversarial() -> dict[str, bytes]:
    """A megabyte each of what costs a careless reader most."""
    size = 1 << 20

    def much(part: bytes) -> bytes:
        return part * (size // len(part))

    return {
        "one line": much(b'"usage":{'),
        "marks": much(b'data: {"usage":{\n'),
        "finals": much(b'data: {"usage":{"completion_tokens":1},"choices":[]}\n'),
        "nulls": much(b'data: {"usage":null}\n'),
        "done": much(DONE),
        "deep": much(b'data: {"usage":{' + b"[" * 20000 + b"\n"),
        "long": much(b'data: {"eval_count":[' + b"1," * 30000 + b"1]}\n"),
        "empty lines": much(b"\n"),
        "colons": much(b"data:\n"),
        "comments": much(b':_tokens"\n'),
        "far": much(b'data: "eval_count"\n' + b':_tokens"\n' * 6500),
        "comments between": b'data: "eval_count"\n' + much(b':_tokens"\n') + b'data: {"tokens_predicted"}\n',
        "comments, then long": b"".join(
            (b':"eval_count"\n' * 4000 + b'data: _tokens"' + b"x" * LIMIT + b"\n") for _ in range(9)
        ),
    }


class BoundsTests(SynchronousTestCase):
    def test_memory(self) -> None:
        """Whatever comes, in whatever reads, not more than two lines of the limit are kept, and at the end nothing."""
        for name, stream in adversarial().items():
            for step in (997, 65536):
                with self.subTest(name, step=step):
                    reader = UsageReader(Form.EVENTS, False, Heard())
                    most = 0
                    for start in range(0, len(stream), step):
                        reader.read(stream[start : start + step])
                        most = max(most, reader.held_bytes)
                    self.assertLessEqual(most, 2 * LIMIT)
                    reader.end()
                    self.assertEqual(reader.held_bytes, 0)

    def test_released(self) -> None:
        """A response that breaks leaves nothing behind, and tells nothing."""
        listener = Heard()
        reader = UsageReader(Form.WHOLE, False, listener)
        reader.read(b"x" * 1000)
        reader.lost()
        self.assertEqual((reader.held_bytes, listener.result), (0, "nothing"))

    def test_parsed_lines(self) -> None:
        """Of many lines that all look like the last, few are parsed."""
        lines = adversarial()["finals"].splitlines(keepends=True)
        told = heard(Form.EVENTS, lines)
        self.assertLessEqual(len(told.progressed), FINALS_MAX + len(lines) // PARSED_EVERY + 1)


class TimeTests(SynchronousTestCase):
    slow = True

    def test_linear(self) -> None:
        """Twice the bytes take about twice the time: far from four times, in reads of any size."""
        for name, stream in adversarial().items():
            for step in (1000, 65536):
                with self.subTest(name, step=step):
                    half = min(seconds(stream[: len(stream) // 2], step) for _ in range(3))
                    whole = min(seconds(stream, step) for _ in range(3))
                    self.assertLess(whole, 3.3 * half + 0.005)

    def test_linear_in_a_read(self) -> None:
        """Large reads take no more time for a byte than small ones."""
        for name, stream in adversarial().items():
            with self.subTest(name):
                small = min(seconds(stream[: 4 * LIMIT], 4096) for _ in range(3))
                large = min(seconds(stream[: 4 * LIMIT], 65536) for _ in range(3))
                self.assertLess(large, 2 * small + 0.02)


def seconds(stream: bytes, step: int, clock: Callable[[], float] = time.process_time) -> float:
    """The processor time for reading a stream in reads of `step` bytes."""
    reads = [stream[start : start + step] for start in range(0, len(stream), step)]
    began = clock()
    heard(Form.EVENTS, reads)
    return clock() - began
