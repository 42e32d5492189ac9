"""Tests of `vespa.simulator.demo_client`."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vespa.simulator.completions import COMPLETION_TEXT, ModelCompletion
from vespa.simulator.demo_client import StreamedWords


class StreamedWordsTests(SynchronousTestCase):
    @given(st.integers(1, 500))
    def test_split(self, size: int) -> None:
        """The words of a stream are the same however it arrives in pieces."""
        stream = b"".join(ModelCompletion("chat", 1, 0, 1, 1000).events(include_usage=True))
        told: list[str] = []
        words = StreamedWords(told.append)
        for start in range(0, len(stream), size):
            words.take(stream[start : start + size])
        self.assertEqual(
            ("".join(told), words.done, words.count), (COMPLETION_TEXT, True, len(COMPLETION_TEXT.split()))
        )
