"""Responses as they come, in the dialects of several backends."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vespa.loadtest.reading import KEPT, Events, Reader, Whole, reader_for
from vespa.simulator.completions import ModelCompletion


def sse(*events: Any, end: str = "\n\n") -> bytes:
    return "".join(f"data: {each if isinstance(each, str) else json.dumps(each)}{end}" for each in events).encode()


def delta(**said: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": said, "finish_reason": None}]}


def read(reader: Reader, data: bytes, size: int = 1 << 20) -> tuple[int, str]:
    pieces = sum(reader.feed(data[at : at + size]) for at in range(0, len(data), size))
    return pieces, reader.end()


NAMES = (
    "choices delta error type usage message response details content token finish_reason text status completion_tokens "
    "prompt_tokens input_tokens tokens_evaluated"
).split()
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(NAMES), inner),
    max_leaves=12,
)
COMPLETION = ModelCompletion(api="chat", number=1, created=0, prompt_tokens=3, max_tokens=20)


class OpenAITests(SynchronousTestCase):
    @given(st.integers(1, 300))
    def test_any_cut(self, size: int) -> None:
        """However a stream is cut, every piece with text counts once, and usage is found."""
        reader = Events()
        pieces, missing = read(reader, b"".join(COMPLETION.events(True)), size)
        self.assertEqual((pieces, missing, reader.tokens, reader.error), (20, "", 20, ""))
        self.assertEqual(reader.input_tokens, 3)

    @given(st.integers(1, 100))
    def test_carriage_returns(self, size: int) -> None:
        """Lines may end with CR LF."""
        reader = Events()
        found = read(reader, sse(delta(content="a"), delta(content="b"), "[DONE]", end="\r\n\r\n"), size)
        self.assertEqual(found, (2, ""))

    def test_no_usage(self) -> None:
        """Without a count from the backend, no number of tokens is invented."""
        reader = Events()
        self.assertEqual(read(reader, b"".join(COMPLETION.events(False))), (20, ""))
        self.assertEqual((reader.tokens, reader.input_tokens), (None, None))

    def test_empty_pieces(self) -> None:
        """A piece with a role, with no text, or with a finish reason is no token; thoughts and tool calls are."""
        reader = Events()
        stream = sse(
            delta(role="assistant", content=""),
            delta(content=None),
            delta(reasoning_content="hm"),
            delta(reasoning="hm"),
            delta(tool_calls=[{"index": 0}]),
            {"choices": []},
            {"choices": [{"text": "a"}]},
            {"choices": [{"delta": {}, "finish_reason": "stop"}]},
            "[DONE]",
        )
        self.assertEqual(read(reader, stream), (4, ""))

    def test_comments(self) -> None:
        """Comments, other fields and empty lines are nothing."""
        self.assertEqual(
            read(Events(), b": waiting\n\nid: 7\nretry: 10\n\n" + sse(delta(content="a"), "[DONE]")), (1, "")
        )

    def test_no_end(self) -> None:
        """A stream that ends before [DONE] or a finish reason is not whole."""
        self.assertIn("without its last event", read(Events(), sse(delta(content="a")))[1])
        finished = {"choices": [{"delta": {}, "finish_reason": "length"}]}
        self.assertEqual(read(Events(), sse(delta(content="a"), finished)), (1, ""))

    def test_last_line_without_end(self) -> None:
        """A last line that is not ended counts."""
        self.assertEqual(read(Events(), sse(delta(content="a"), "[DONE]").rstrip()), (1, ""))

    def test_error_event(self) -> None:
        """An error in a stream is found, in each of its shapes; the first one stays."""
        for stream in (
            sse(delta(content="a"), {"error": {"message": "out of memory"}}, {"error": "another"}),
            sse({"error": "out of memory"}),
            b"event: error\ndata: out of memory\n\n",
            b'event: error\ndata: {"message": "out of memory"}\n\n',
            sse({"type": "error", "error": {"type": "overloaded_error", "message": "out of memory"}}),
        ):
            reader = Events()
            read(reader, stream)
            self.assertEqual(reader.error, "out of memory", stream)

    def test_not_json(self) -> None:
        """Lines that are not JSON count as pieces of text; deep nesting is harmless."""
        self.assertEqual(read(Events(), b"data: hello\n\ndata: \n\n"), (1, ""))
        self.assertEqual(read(Events(), b"data: " + b"[" * 100_000 + b"\n\n"), (1, ""))
        self.assertEqual(read(Events(), sse([1], 5, "null", '"text"')), (0, ""))

    def test_long_line(self) -> None:
        """Of an endless line, only the part that is parsed is kept."""
        reader = Events()
        for _ in range(40):
            reader.feed(b"x" * 65536)
        self.assertLessEqual(reader.held_bytes, KEPT + 2 * 65536)
        self.assertEqual(reader.feed(b"\n" + sse(delta(content="a"))), 1)


class OtherTests(SynchronousTestCase):
    def test_anthropic(self) -> None:
        """Anthropic's deltas are pieces, and its usage is found."""
        reader = Events()
        stream = sse(
            {"type": "message_start", "message": {"content": [], "usage": {"input_tokens": 7, "output_tokens": 1}}},
            {"type": "content_block_start", "content_block": {"type": "text", "text": ""}},
            {"type": "ping"},
            {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "a"}},
            {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "b"}},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}},
            {"type": "message_stop"},
        )
        self.assertEqual((read(reader, stream), reader.tokens, reader.input_tokens), ((2, ""), 9, 7))

    def test_responses(self) -> None:
        """OpenAI's responses: text deltas are pieces, the last event has the usage, or the error."""
        reader = Events()
        stream = sse(
            {"type": "response.created", "response": {"status": "in_progress", "usage": None}},
            {"type": "response.output_text.delta", "delta": "a"},
            {"type": "response.completed", "response": {"usage": {"input_tokens": 7, "output_tokens": 3}}},
        )
        self.assertEqual((read(reader, stream), reader.tokens, reader.error), ((1, ""), 3, ""))
        self.assertEqual(reader.input_tokens, 7)
        reader = Events()
        read(reader, sse({"type": "response.failed", "response": {"error": {"message": "no"}}}))
        self.assertEqual(reader.error, "no")

    def test_tgi(self) -> None:
        """TGI's tokens are pieces, and its details count them."""
        reader = Events()
        last = {"token": {"text": "b"}, "generated_text": "ab", "details": {"generated_tokens": 2}}
        self.assertEqual(read(reader, sse({"token": {"text": "a"}, "generated_text": None}, last)), (2, ""))
        self.assertEqual(reader.tokens, 2)

    def test_llama(self) -> None:
        """llama.cpp's own streams."""
        reader = Events()
        stream = sse(
            {"content": "a", "stop": False}, {"content": "", "stop": True, "tokens_predicted": 1, "tokens_evaluated": 7}
        )
        self.assertEqual((read(reader, stream), reader.tokens, reader.input_tokens), ((1, ""), 1, 7))

    def test_ollama(self) -> None:
        """Ollama's lines of JSON, of either of its paths."""
        reader = reader_for("application/x-ndjson")
        lines = [
            {"message": {"content": "a"}},
            {"response": "b"},
            {"done": True, "response": "", "prompt_eval_count": 7, "eval_count": 2},
        ]
        stream = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        self.assertEqual((read(reader, stream), reader.tokens, reader.input_tokens), ((2, ""), 2, 7))

    def test_continuous_usage(self) -> None:
        """If every event has the usage so far, the last one counts; an event without it changes nothing."""
        reader = Events()
        events = [delta(content="a") | {"usage": {"prompt_tokens": 7, "completion_tokens": n}} for n in (1, 2)]
        read(reader, sse(*events, delta(content="b") | {"usage": None}, "[DONE]"))
        self.assertEqual((reader.tokens, reader.input_tokens), (2, 7))

    @given(ANYTHING)
    def test_any_json(self, value: Any) -> None:
        """Any JSON is read without an exception."""
        read(Events(), sse(value))
        read(Whole(True), json.dumps(value).encode())


class WholeTests(SynchronousTestCase):
    def test_usage(self) -> None:
        """A whole response's tokens, by each backend's name."""
        for response in (
            COMPLETION.whole(),
            {"usage": {"output_tokens": 20}},
            {"generated_text": "…", "details": {"generated_tokens": 20}},
            [{"generated_text": "…", "details": {"generated_tokens": 20}}],
            {"eval_count": 20, "response": "…"},
        ):
            reader = Whole(True)
            self.assertEqual(read(reader, json.dumps(response).encode(), 7), (0, ""))
            self.assertEqual((reader.tokens, reader.error), (20, ""), response)

    def test_failed(self) -> None:
        """A response that says that it failed is an error, whatever its status was."""
        for response in ({"status": "failed", "message": "no memory"}, {"error": {"message": "no memory"}}):
            reader = Whole(True)
            read(reader, json.dumps(response).encode())
            self.assertEqual(reader.error, "no memory")

    def test_other(self) -> None:
        """A body that is not JSON, or too long, is not parsed."""
        for reader in (Whole(True), Whole(False)):
            self.assertEqual(read(reader, b"x" * (KEPT + 100), 65536), (0, ""))
            self.assertEqual((reader.tokens, reader.error), (None, ""))

    def test_choice(self) -> None:
        """The content type says how to read."""
        self.assertIsInstance(reader_for("Text/Event-Stream; charset=utf-8"), Events)
        for kind in ("application/json", "application/problem+json", "image/png", ""):
            self.assertIsInstance(reader_for(kind), Whole)
