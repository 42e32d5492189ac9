"""Tests of `vespa.simulator.printout`: what people read on a terminal, and what a pipe gets."""

from __future__ import annotations

import io
import re

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.runtime.test_terminal import FakeTerminal
from vespa.runtime.terminal import Terminal
from vespa.simulator.printout import WIDEST, Printout

XTERM = {"TERM": "xterm-256color"}
ROWS = (("1", "through the client", "13"), ("2", "by hand", "100"))


def visible(text: str) -> str:
    """What is left without escape sequences."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


class PrintoutTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()

    def printout(self, stream: io.StringIO, width: int | None = None) -> Printout:
        return Printout(Terminal(stream, XTERM, width=width), self.clock)

    def everything(self, printout: Printout) -> None:
        printout.heading("A part")
        printout.text("word " * 60)
        printout.event("worker", "reports: " + "word " * 60)
        printout.table(("No", "Sent", "Units"), ROWS)
        printout.good("all is well")
        with printout.flow() as take:
            for _ in range(60):
                take(" word")

    def test_pipe(self) -> None:
        """A pipe gets plain lines, of which none is broken, with the running text in one."""
        pipe = io.StringIO()
        self.everything(self.printout(pipe))
        self.assertNotIn("\x1b", pipe.getvalue())
        lines = [line.strip() for line in pipe.getvalue().splitlines()]
        words = " ".join(["word"] * 60)
        self.assertEqual(lines[:4], ["", "A part", words, f"0.0 s  worker      reports: {words}"])
        self.assertEqual(lines[-2:], ["ok: all is well", words])

    def test_widths(self) -> None:
        """On a terminal lines end at its width, or after a hundred columns; no word is lost or broken."""
        for width in (50, 80, 300):
            screen = FakeTerminal()
            self.everything(self.printout(screen, width))
            # Of the running text each state is there; the last is what is left.
            lines = visible(screen.getvalue()).splitlines()
            self.assertLessEqual(max(len(line.rstrip()) for line in lines), min(width, WIDEST))
            self.assertNotIn("word" * 2, "".join(lines))

    def test_colours(self) -> None:
        """A terminal shows what is well in green, and an error in red."""
        screen = FakeTerminal()
        self.printout(screen).good("well")
        self.assertIn("\x1b[32mok: well", screen.getvalue())
        self.printout(screen).bad("no")
        self.assertIn("\x1b[31merror: no", screen.getvalue())

    def test_events(self) -> None:
        """An event has the seconds since the beginning, and is not repeated."""
        pipe = io.StringIO()
        printout = self.printout(pipe)
        self.clock.advance(12.34)
        for what in ("waits", "waits", "goes on", "waits"):
            printout.event("client", what)
        lines = [line.split() for line in pipe.getvalue().splitlines()]
        self.assertEqual([line[:3] for line in lines], [["12.3", "s", "client"]] * 3)
        self.assertEqual([" ".join(line[3:]) for line in lines], ["waits", "goes on", "waits"])

    def test_table(self) -> None:
        """Columns of numbers are aligned at the right, others at the left."""
        pipe = io.StringIO()
        self.printout(pipe).table(("No", "Sent", "Units"), ROWS)
        expected = [
            "  No  Sent                Units",
            "   1  through the client     13",
            "   2  by hand               100",
        ]
        self.assertEqual([line.rstrip() for line in pipe.getvalue().splitlines()], expected)

    def test_command(self) -> None:
        """A command is never wrapped: it can be pasted with its continuation lines."""
        screen = FakeTerminal()
        self.printout(screen, 40).command("a stream", "curl -N http://127.0.0.1:8010/v1/chat/completions", "-d '{}'")
        lines = visible(screen.getvalue()).splitlines()
        self.assertEqual(
            lines, ["", "  # a stream", "  curl -N http://127.0.0.1:8010/v1/chat/completions \\", "    -d '{}'"]
        )

    @given(st.lists(st.text("ab", min_size=1, max_size=12), min_size=1, max_size=60), st.integers(1, 7))
    def test_flow(self, words: list[str], cut: int) -> None:
        """Running text keeps its words and stays within the width, however it is cut."""
        screen = FakeTerminal()
        spaced = [word if place == 0 else " " + word for place, word in enumerate(words)]
        with self.printout(screen, 60).flow() as take:
            for start in range(0, len(spaced), cut):
                take("".join(spaced[start : start + cut]))
            screen.taken()  # all but the last state
        shown = visible(screen.getvalue())
        self.assertEqual(shown.split(), words)
        self.assertTrue(all(len(line.rstrip()) <= 60 for line in shown.splitlines()))
