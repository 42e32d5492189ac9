"""Laws of the terminal: what stays, what is rewritten. The terminals are real, pseudo as they are."""

from __future__ import annotations

import io
import os
import struct
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from vespa.client.command.screen import Screen

fcntl: Any
termios: Any
try:
    import fcntl
    import termios
except ImportError:
    fcntl = termios = None
NO_TERMINALS = "" if termios else "this system has no pseudo terminals"

ERASE = "\r\x1b[K"


class ScreenTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.stream = io.StringIO()
        self.screen = Screen(self.stream, 20)

    def written(self) -> str:
        text = self.stream.getvalue()
        self.stream.seek(0)
        self.stream.truncate()
        return text

    def test_plain(self) -> None:
        """Without a live line, lines are written as they are."""
        self.screen.write("a\n")
        self.screen.flush()
        self.assertEqual(self.written(), "a\n")

    def test_live(self) -> None:
        """A live line is rewritten in its place, and is erased at the end."""
        for text in ("one", "two", ""):
            self.screen.live(text)
            self.assertEqual(self.written(), ERASE + text)

    def test_same(self) -> None:
        """What stands there already is not written again; an empty one at the start neither."""
        self.screen.live("")
        self.assertEqual(self.written(), "")
        self.screen.live("one")
        self.screen.live("one")
        self.assertEqual(self.written(), ERASE + "one")

    def test_lines_above(self) -> None:
        """A line that stays goes above the live one."""
        self.screen.live("live")
        self.written()
        self.screen.write("log\n")
        self.assertEqual(self.written(), f"{ERASE}log\nlive")

    def test_width(self) -> None:
        """A live line is shorter than the row, and holds nothing that drives the terminal."""
        self.screen.live("a\n\x1b[2J\x9b" + "b" * 100)
        self.assertEqual(self.written(), ERASE + "a  [2J " + "b" * 12)

    def test_no_escapes(self) -> None:
        """Where a terminal follows no escape sequences, a live line is written over with spaces."""
        self.screen = Screen(self.stream, 20, escapes=False)
        self.screen.live("one")
        self.assertEqual(self.written(), "\r\rone")
        self.screen.write("log\n")
        self.assertEqual(self.written(), "\r   \rlog\none")
        self.screen.live("")
        self.assertEqual(self.written(), "\r   \r")

    def test_own_width(self) -> None:
        """The terminal's own width counts, as it is at the time; where there is none, 80."""
        if NO_TERMINALS:
            raise SkipTest(NO_TERMINALS)
        ours, theirs = os.openpty()
        self.addCleanup(os.close, ours)
        stream = os.fdopen(theirs, "w")
        self.addCleanup(stream.close)
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 25, 10, 0, 0))
        Screen(stream).live("x" * 100)
        self.assertEqual(os.read(ours, 1000).decode(), ERASE + "x" * 9)
        Screen(self.stream).live("x" * 100)
        self.assertEqual(self.written(), ERASE + "x" * 79)

    def test_gone(self) -> None:
        """A terminal that is gone hurts nobody who keeps a live line."""
        self.stream.close()
        self.screen.live("one")
