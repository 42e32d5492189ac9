from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.worker.usage.replies import WHOLE
from vespa.worker.usage.counts import TOKENS_MAX, Counts, read_counts

NUMBERS = (
    "-1",
    "1e9",
    "1000000001",
    "1e400",
    "123456789012345678901234567890",
    "2.5",
    "true",
    '"6"',
    "null",
    "[6]",
    "{}",
)
"""What a backend may write in place of a number of tokens, and what is no such number."""


class ReadCountsTests(SynchronousTestCase):
    def test_servers(self) -> None:
        """The replies of the servers that people run report their tokens."""
        for name, (reply, counts) in WHOLE.items():
            with self.subTest(name):
                self.assertEqual(read_counts(json.dumps(reply).encode()), counts)

    def test_no_numbers(self) -> None:
        """What is no number of tokens is not reported."""
        for number in NUMBERS:
            if number == "1e9":
                continue
            for member in ('"usage":{"completion_tokens":%s}', '"eval_count":%s', '"timings":{"predicted_n":%s}'):
                with self.subTest(number, member=member):
                    self.assertIsNone(read_counts(("{" + member % number + "}").encode()))

    def test_whole_float(self) -> None:
        """A server in a language with one kind of numbers may write 6.0."""
        self.assertEqual(read_counts(b'{"usage":{"completion_tokens":6.0}}'), Counts(6, 0))

    def test_sum_too_large(self) -> None:
        """The tokens of a reply, and those of several in one, have a bound together."""
        half = TOKENS_MAX // 2 + 1
        self.assertIsNone(read_counts(b'{"usage":{"completion_tokens":%d,"prompt_tokens":%d}}' % (half, half)))
        self.assertIsNone(read_counts(b'[{"tokens_predicted":%d},{"tokens_predicted":%d}]' % (half, half)))

    def test_repeated_name(self) -> None:
        """The last of two members with one name counts, as in most parsers of JSON."""
        twice = b'{"usage":{"completion_tokens":1},"usage":{"completion_tokens":2,"completion_tokens":3}}'
        self.assertEqual(read_counts(twice), Counts(3, 0))

    def test_only_its_own(self) -> None:
        """A `usage` that a caller can have a backend repeat, deeper in the reply, is not the reply's."""
        deeper = {"usage": {"completion_tokens": 999}}
        for name in ("tools", "metadata", "choices", "echo"):
            with self.subTest(name):
                self.assertIsNone(read_counts(json.dumps({name: [deeper]}).encode()))
                self.assertIsNone(read_counts(json.dumps({"response": {name: deeper}}).encode()))

    def test_no_json(self) -> None:
        """What is no JSON, or too deep, reports nothing, and raises nothing."""
        deep = b"[" * 30000
        for text in (
            b"",
            b"{",
            b"[1]",
            b"null",
            b'{"usage":',
            b"\xff",
            b'{"usage":' + deep,
            deep,
            b'{"x":NaN}',
            b"{} {}",
        ):
            with self.subTest(text[:10]):
                self.assertIsNone(read_counts(text))

    def test_placeholder(self) -> None:
        """The first event of Anthropic's streams reports the prompt only."""
        start = b'{"type":"message_start","message":{"usage":{"input_tokens":11,"output_tokens":1}}}'
        self.assertEqual(read_counts(start), Counts(0, 11))

    @given(st.binary() | st.text(alphabet='{}[]":,0123456789e.-').map(str.encode))
    def test_any_bytes(self, text: bytes) -> None:
        """Whatever the bytes are, the tokens are within their bounds."""
        counts = read_counts(text)
        self.assertTrue(counts is None or 0 < counts.generated + counts.prompt <= TOKENS_MAX)

    @given(
        st.dictionaries(
            st.sampled_from(
                ("usage", "response", "message", "type", "eval_count", "stop", "timings", "details", "done")
            ),
            st.recursive(
                st.none() | st.booleans() | st.integers(-2, 10**30) | st.floats() | st.text(max_size=2),
                lambda inner: (
                    st.dictionaries(
                        st.sampled_from(
                            ("usage", "completion_tokens", "input_tokens", "predicted_n", "generated_tokens")
                        ),
                        inner,
                    )
                    | st.lists(inner, max_size=2)
                ),
                max_leaves=6,
            ),
        )
    )
    def test_any_members(self, reply: dict[str, Any]) -> None:
        """Whatever the members are, the tokens are within their bounds."""
        counts = read_counts(json.dumps(reply).encode())
        self.assertTrue(counts is None or 0 < counts.generated + counts.prompt <= TOKENS_MAX)


class CountsTests(SynchronousTestCase):
    def test_unit(self) -> None:
        """Work is what was generated, or that with the prompt."""
        self.assertEqual(Counts(6, 11).of("completion"), 6)
        self.assertEqual(Counts(6, 11).of("total"), 17)
