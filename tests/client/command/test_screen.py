"""Laws of the terminal: what stays, what is rewritten, what is asked. The terminals are real, pseudo as they are."""

from __future__ import annotations

import io
import os
import struct
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReadDescriptor
from twisted.trial.unittest import SkipTest, SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from tests.processes import until
from vespa.client.command.screen import LineReader, Questions, Screen

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


class QuestionTests(TestCase):
    timeout = 20
    if NO_TERMINALS:
        skip = NO_TERMINALS

    def setUp(self) -> None:
        self.ours, theirs = os.openpty()
        self.addCleanup(os.close, self.ours)
        os.set_blocking(self.ours, False)
        self.stream = os.fdopen(theirs, "w")
        self.addCleanup(self.stream.close)
        self.descriptor = theirs
        self.questions = Questions(reactor, theirs, Screen(self.stream))
        self.seen = b""

    def see(self) -> bytes:
        try:
            self.seen += os.read(self.ours, 10_000)
        except BlockingIOError:
            pass
        return self.seen

    async def until_seen(self, text: bytes) -> None:
        await until(lambda: text in self.see(), 10, repr(text))

    @property
    def echoes(self) -> bool:
        flags: list[Any] = termios.tcgetattr(self.descriptor)
        return bool(flags[3] & termios.ECHO)

    async def test_answer(self) -> None:
        """What is typed is the answer, without the spaces around it, and is shown."""
        answer = Deferred.fromCoroutine(self.questions.ask("Name: "))
        await self.until_seen(b"Name: ")
        os.write(self.ours, b" my na")
        os.write(self.ours, b"me \n")
        self.assertEqual(await answer, "my name")
        await self.until_seen(b"my name")

    async def test_hidden(self) -> None:
        """What is typed for a hidden question is not shown; afterwards typing is shown as before."""
        self.assertTrue(self.echoes)
        answer = Deferred.fromCoroutine(self.questions.ask_hidden("Key: "))
        await self.until_seen(b"Key: ")
        self.assertFalse(self.echoes)
        os.write(self.ours, b"secret\n")
        self.assertEqual(await answer, "secret")
        self.assertTrue(self.echoes)
        await self.until_seen(b"Key: \r\n")
        self.assertNotIn(b"secret", self.seen)

    async def test_cancelled(self) -> None:
        """Who asks no more leaves the terminal as it was, and lets go of it."""
        answer = Deferred.fromCoroutine(self.questions.ask_hidden("Key: "))
        await self.until_seen(b"Key: ")
        answer.cancel()
        await self.assertFailure(answer, CancelledError)
        self.assertTrue(self.echoes)
        clock: Any = reactor
        self.assertFalse([each for each in clock.getReaders() if isinstance(each, LineReader)])

    async def test_end(self) -> None:
        """The end of input is an EOFError, hidden or not."""
        for ask in (self.questions.ask, self.questions.ask_hidden):
            self.seen = b""
            answer = Deferred.fromCoroutine(ask("Name: "))
            await self.until_seen(b"Name: ")
            os.write(self.ours, b"\x04")
            await self.assertFailure(answer, EOFError)
        self.assertTrue(self.echoes)

    async def test_one_after_the_other(self) -> None:
        """Each question gets a line of its own, though both were typed at once."""
        os.write(self.ours, b"one\ntwo\n")
        self.assertEqual(await self.questions.ask("A: "), "one")
        self.assertEqual(await self.questions.ask("B: "), "two")

    def test_interface(self) -> None:
        """What the reactor is given is what it wants."""
        verifyObject(IReadDescriptor, LineReader(self.descriptor, Deferred()))
