"""Tests of what people read: `vespa.simulator.terminal`, `vespa.simulator.lines`, and the words of a stream."""

from __future__ import annotations

import io
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.simulator_support.caller import deletes, worker_status
from vespa.simulator.completions import COMPLETION_TEXT, ModelCompletion
from vespa.simulator.demo_client import StreamedWords
from vespa.simulator.lines import describe
from vespa.simulator.reports import DeleteRequests, Malformed, WorkerStatus, read
from vespa.simulator.terminal import Terminal


class Screen(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


class TerminalTests(SynchronousTestCase):
    def test_plain(self) -> None:
        """No colour code is written where there is no terminal, or where colours are not wanted."""
        for stream, environment in ((io.StringIO(), {}), (Screen(), {"NO_COLOR": "1"}), (Screen(), {"TERM": "dumb"})):
            Terminal(stream, environment).good("well")
            self.assertEqual(stream.getvalue(), "  well\n")

    def test_coloured(self) -> None:
        """A colour is ended on the line on which it began."""
        screen = Screen()
        Terminal(screen, {}).bad("no")
        self.assertEqual(screen.getvalue(), "  \x1b[31mno\x1b[0m\n")

    @given(st.lists(st.text("ab", min_size=1, max_size=12), max_size=60), st.integers(1, 7))
    def test_flow(self, words: list[str], cut: int) -> None:
        """Running text keeps its words and stays within the width, however it is cut."""
        stream = io.StringIO()
        terminal = Terminal(stream, {})
        spaced = [word if place == 0 else " " + word for place, word in enumerate(words)]
        for start in range(0, len(spaced), cut):
            terminal.flow("".join(spaced[start : start + cut]))
        terminal.end_flow()
        self.assertEqual(stream.getvalue().split(), words)
        self.assertTrue(all(len(line) <= 80 for line in stream.getvalue().splitlines()))


class LineTests(SynchronousTestCase):
    def status(self, **changes: Any) -> str:
        return describe(read(json.dumps(worker_status(**changes)).encode(), WorkerStatus))

    def test_status(self) -> None:
        """A report of state is told by what is new in it."""
        self.assertEqual(self.status(max_perf=0.0), "loading")
        self.assertEqual(self.status(loadtime=2.0), "ready after 2.0 s; does 100 units of work a second")
        self.assertEqual(self.status(), "idle")
        self.assertEqual(
            self.status(new_load=5.0, cur_load=2.5),
            "units of work since the last report: 5 received, 2.5 now in flight",
        )
        self.assertEqual(self.status(error_msg="no memory"), "error: no memory")

    def test_others(self) -> None:
        """Finished requests are told by index; a malformed report by what is wrong."""
        body = json.dumps(deletes(True, (1, "Success"), (2, "Cancelled"))).encode()
        self.assertEqual(describe(read(body, DeleteRequests)), "request 1 served, request 2 cancelled")
        self.assertEqual(describe(Malformed("id: missing")), "malformed report: id: missing")


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
