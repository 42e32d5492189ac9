"""Tests of `vespa.runtime.terminal`: what a terminal is sent, and what a pipe is."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.client.command.terminal_process import NO_TERMINALS, TerminalProcess
from tests.processes import ProcessCase
from vespa.runtime.terminal import Terminal

ROOT = Path(__file__).parents[2]
XTERM = {"TERM": "xterm-256color"}
REWRITE = "\r\x1b[2K"


class FakeTerminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True

    def taken(self) -> str:
        """What was written since this was asked last."""
        text = self.getvalue()
        self.seek(0)
        self.truncate()
        return text


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.stream = FakeTerminal()
        self.terminal = Terminal(self.stream, XTERM, width=20)


class EscapeTests(Case):
    def draw(self, stream: io.StringIO, environ: dict[str, str]) -> str:
        terminal = Terminal(stream, environ, width=20)
        terminal.print("well", style="bold green")
        terminal.live("waiting")
        terminal.write("log\n")
        terminal.live("")
        return stream.getvalue()

    def test_terminal(self) -> None:
        """On a terminal there are styles and a live line."""
        text = self.draw(FakeTerminal(), XTERM)
        self.assertTrue(text.startswith("\x1b[1;32mwell\x1b[0m\nwaiting"), repr(text))

    def test_pipe(self) -> None:
        """A pipe gets no escape sequence and no live line, whatever the environment asks for."""
        for environ in (XTERM, {**XTERM, "FORCE_COLOR": "1"}, {**XTERM, "TTY_COMPATIBLE": "1", "TTY_INTERACTIVE": "1"}):
            self.assertEqual(self.draw(io.StringIO(), environ), "well\nlog\n")

    def test_dumb(self) -> None:
        """Nor does a terminal that says that it follows none."""
        self.assertEqual(self.draw(FakeTerminal(), {"TERM": "dumb"}), "well\nlog\n")
        self.assertFalse(Terminal(FakeTerminal(), {"TERM": "dumb"}).is_terminal)

    def test_no_color(self) -> None:
        """With NO_COLOR there are no styles at all; a live line is still rewritten."""
        text = self.draw(FakeTerminal(), {**XTERM, "NO_COLOR": "1"})
        self.assertTrue(text.startswith(f"well\nwaiting{REWRITE}log\n"), repr(text))
        self.assertNotIn("\x1b[1;32m", text)

    def test_cursor(self) -> None:
        """The cursor is never hidden: it would stay so if the process were killed."""
        self.assertNotIn("\x1b[?25", self.draw(FakeTerminal(), XTERM))


class TextTests(Case):
    def test_strings(self) -> None:
        """A string is neither markup nor an escape sequence, where it is printed, in a table and in a log."""
        self.terminal = Terminal(self.stream, XTERM, width=80)
        hostile = "[bold]x[/bold] :smile: \x1b[2J\x9b1m\x07"
        table = Table(hostile, box=None)
        table.add_row(hostile)
        self.terminal.print(hostile)
        self.terminal.print(table)
        self.terminal.write(hostile + "\n")
        self.terminal.live(hostile)
        self.terminal.write(hostile + "\n")
        text = self.stream.getvalue()
        self.assertEqual(text.count("[bold]x[/bold] :smile:  [2J 1m"), 7, repr(text))
        self.assertNotIn("\x1b[2J", text)
        self.assertNotIn("\x9b", text)
        self.assertNotIn("\x07", text)

    def test_direction(self) -> None:
        """Nor can a string turn the direction of what follows it, or begin a line where none is seen to begin."""
        for character in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u2028\u2029":
            self.terminal.print(f"a{character}b")
            self.terminal.write(f"a{character}b\n")
            self.assertEqual(self.stream.taken(), "a b\na b\n", ascii(character))

    def test_columns(self) -> None:
        """COLUMNS is the width where it is a number above 0; with any other the text is there all the same."""
        own = Terminal(self.stream, XTERM).width
        for columns, width in (("30", 30), ("0", own), ("", own), ("-1", own), ("²", own), ("x", own)):
            terminal = Terminal(self.stream, {**XTERM, "COLUMNS": columns, "LINES": columns})
            terminal.print("some text")
            self.assertEqual(self.stream.taken(), "some text\n")
            self.assertEqual(terminal.width, width, columns)

    def test_styles(self) -> None:
        """Our own words may have a style; what stands between them does not take it over."""
        self.terminal.print(Text("ok", style="green"), "[red]as it is[/red]")
        self.assertEqual(self.stream.taken().split()[0], "\x1b[32mok\x1b[0m")

    def test_long_line(self) -> None:
        """A log's line is neither wrapped nor cut, and may come in parts, above a live line or without one."""
        for live in ("", "waiting"):
            self.terminal.live(live)
            self.stream.taken()
            self.terminal.write("x" * 50 + "\n  y z\n")
            self.assertIn("x" * 50 + "\n  y z\n", self.stream.taken())


class LiveTests(Case):
    def test_rewritten(self) -> None:
        """A live line is rewritten in its place, and is erased at the end."""
        self.terminal.live("one")
        self.assertEqual(self.stream.taken(), "one")
        self.terminal.live("two")
        self.assertEqual(self.stream.taken(), f"{REWRITE}two")
        self.terminal.live("")
        self.assertEqual(self.stream.taken(), f"{REWRITE}two\n\r\x1b[1A\x1b[2K")

    def test_none(self) -> None:
        """No live line is nothing to erase, at the start and at the end."""
        self.terminal.live("")
        self.assertEqual(self.stream.taken(), "")
        self.terminal.live("one")
        self.terminal.live("")
        self.stream.taken()
        self.terminal.live("")
        self.assertEqual(self.stream.taken(), "")
        self.terminal.live("again")
        self.assertEqual(self.stream.taken(), "again")

    def test_lines_above(self) -> None:
        """A line that stays goes above the live one, from a log as from `print`."""
        self.terminal.live("live")
        self.stream.taken()
        self.terminal.write("log\n")
        self.assertEqual(self.stream.taken(), f"{REWRITE}log\nlive")
        self.terminal.print("said")
        self.assertEqual(self.stream.taken(), f"{REWRITE}said\nlive")

    def test_width(self) -> None:
        """A live line takes one row, by the columns that its characters take, and nothing in it drives the terminal."""
        self.terminal.live("a\n\x1b[2J\x9b" + "b" * 100)
        self.assertEqual(self.stream.taken(), "a  [2J " + "b" * 12 + "…")
        self.terminal.live("漢" * 20)
        self.assertEqual(self.stream.taken(), REWRITE + "漢" * 9 + " …")

    def test_print(self) -> None:
        """A line that is printed is not wrapped: it is to be copied whole, and scripts read it as one."""
        for stream in (self.stream, io.StringIO()):
            Terminal(stream, XTERM, width=20).print("word " * 10)
            self.assertEqual(stream.getvalue(), "word " * 10 + "\n")

    def test_table(self) -> None:
        """A table is made to fit a terminal; a pipe gets it whole, however wide it is."""
        table = Table("name", box=None)
        table.add_row("word " * 10)
        Terminal(self.stream, {**XTERM, "NO_COLOR": "1"}, width=20).print(table)
        self.assertTrue(all(len(line) <= 20 for line in self.stream.getvalue().splitlines()))
        for environ in (XTERM, {**XTERM, "COLUMNS": "20"}):
            pipe = io.StringIO()
            Terminal(pipe, environ).print(table)
            self.assertIn(("word " * 10).strip(), pipe.getvalue())

    def test_columns(self) -> None:
        """COLUMNS is the width where it is set."""
        self.assertEqual(Terminal(self.stream, {**XTERM, "COLUMNS": "12"}).width, 12)


# Shows how wide it takes its terminal to be, and a line that is too long for it, for each line that is typed.
WIDTHS = """
import os, sys
from vespa.runtime.terminal import Terminal
terminal = Terminal(sys.stdout, os.environ)
while True:
    print(f"{terminal.width} columns")
    terminal.live("x" * 200)
    input()
    terminal.live("")
"""


class WidthTests(ProcessCase):
    if NO_TERMINALS:
        skip = NO_TERMINALS

    async def test_own_width(self) -> None:
        """The terminal's own width counts, as it is at the time; where it has none, 80."""
        terminal = TerminalProcess()
        terminal.start([sys.executable, "-c", WIDTHS], {"PYTHONPATH": str(ROOT)}, self.temporary_folder())
        self.addCleanup(lambda: Deferred.fromCoroutine(terminal.kill()))
        await terminal.shows("80 columns\r\n" + "x" * 79 + "…")
        for columns in (10, 30):
            terminal.resize(columns)
            terminal.type("\n")
            await terminal.shows(f"{columns} columns\r\n" + "x" * (columns - 1) + "…")


class Failing(FakeTerminal):
    """A stream on which every write fails."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error
        self.writes = 0

    def write(self, text: str) -> int:
        self.writes += 1
        raise self.error


class GoneTests(SynchronousTestCase):
    def use(self, stream: Any) -> None:
        terminal = Terminal(stream, XTERM, width=20)
        terminal.print("said")
        terminal.write("log\n")
        terminal.live("one")
        terminal.live("two")
        terminal.write("log\n")
        terminal.live("")
        terminal.flush()

    def test_gone(self) -> None:
        """A terminal that is gone is no error, and nothing is written to it any more."""
        for error in (BrokenPipeError(), OSError(5, "gone"), ValueError("closed")):
            stream = Failing(error)
            self.use(stream)
            self.assertEqual(stream.writes, 1)

    def test_closed_pipe(self) -> None:
        """Nor is a pipe that nobody reads: it ends neither this process nor, once more, its exit."""
        reading, writing = os.pipe()
        os.close(reading)
        with os.fdopen(writing, "w") as stream:
            self.use(stream)
