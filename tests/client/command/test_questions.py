"""Tests of questions, with lines that a test gives and at a real terminal."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from queue import Queue

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import TestCase

from tests.client.command.terminal_process import NO_TERMINALS, TerminalProcess
from tests.processes import ProcessCase, until
from vespa.client.command.questions import Asks, Questions
from vespa.runtime.terminal import Terminal

ROOT = Path(__file__).parents[3]
_checked: type[Asks] = Questions

# Asks one question for each word of its command line, and shows the answers.
ASKING = """
import os, sys
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from vespa.client.command.questions import Questions
from vespa.runtime.terminal import Terminal

async def ask():
    questions = Questions(reactor, Terminal(sys.stdout, os.environ))
    for number, kind in enumerate(sys.argv[1:]):
        try:
            answer = await questions.ask(f"Question {number}: ", hidden=kind == "hidden")
            questions.say(f"answer {number} has {len(answer)} characters" if kind == "hidden" else f"<{answer}>")
        except EOFError:
            questions.say(f"end of input {number}")
    reactor.stop()

reactor.callWhenRunning(lambda: Deferred.fromCoroutine(ask()))
reactor.run()
"""


class ThreadTests(TestCase):
    timeout = 20

    def setUp(self) -> None:
        self.stream = io.StringIO()
        self.typed: Queue[str | BaseException] = Queue()
        self.hidden = 0
        self.terminal = Terminal(self.stream, {})
        self.questions = Questions(reactor, self.terminal, read=self.read, read_hidden=self.read_hidden)

    def read(self, prompt: str) -> str:
        self.terminal.print(prompt, end="")
        typed = self.typed.get(timeout=10)
        if isinstance(typed, BaseException):
            raise typed
        return typed

    def read_hidden(self, prompt: str) -> str:
        self.hidden += 1
        return self.read(prompt)

    def asked(self, typed: str | BaseException, *, hidden: bool = False) -> Deferred[str]:
        self.typed.put(typed)
        return Deferred.fromCoroutine(self.questions.ask("What? ", hidden=hidden))

    async def test_answer(self) -> None:
        """The prompt is shown, and the answer comes without the spaces around it; the reactor runs meanwhile."""
        waiting = Deferred.fromCoroutine(self.questions.ask("Name: "))
        await until(lambda: self.stream.getvalue() == "Name: ")
        self.assertEqual(self.questions.waiting, 1)
        self.typed.put(" demo \r")
        self.assertEqual(await waiting, "demo")
        self.assertEqual((self.questions.waiting, self.hidden), (0, 0))
        self.assertEqual(await self.asked(""), "")

    async def test_hidden(self) -> None:
        """Hidden input is read by the reader for it; an empty line is an answer."""
        self.assertEqual(await self.asked("key", hidden=True), "key")
        self.assertEqual(await self.asked("", hidden=True), "")
        self.assertEqual(self.hidden, 2)

    async def test_end_of_input(self) -> None:
        """The end of input is EOFError at either."""
        for hidden in (False, True):
            await self.assertFailure(self.asked(EOFError(), hidden=hidden), EOFError)

    async def test_interrupt(self) -> None:
        """A Ctrl-C that the hidden prompt took as a key ends the question as one that was cancelled."""
        await self.assertFailure(self.asked(KeyboardInterrupt(), hidden=True), CancelledError)

    async def test_interrupt_before_the_end(self) -> None:
        """If Ctrl-C also ends the input, the question is cancelled before the end of the input is reported."""
        waiting = self.asked(EOFError())
        await until(lambda: not self.questions.waiting)
        self.assertFalse(waiting.called)
        waiting.cancel()
        await self.assertFailure(waiting, CancelledError)

    async def test_cancel(self) -> None:
        """A question may be cancelled; that its thread still waits is known, and what is typed then hurts nobody."""
        waiting = Deferred.fromCoroutine(self.questions.ask("Name: "))
        await until(self.stream.getvalue)
        waiting.cancel()
        await self.assertFailure(waiting, CancelledError)
        self.assertEqual((self.questions.waiting, self.stream.getvalue()), (1, "Name: \n"))
        self.typed.put("late")
        await until(lambda: not self.questions.waiting)


class TerminalTests(ProcessCase):
    if NO_TERMINALS:
        skip = NO_TERMINALS

    def ask(self, *kinds: str) -> TerminalProcess:
        terminal = TerminalProcess()
        environ = {"PYTHONPATH": str(ROOT)}
        terminal.start([sys.executable, "-c", ASKING, *kinds], environ, self.temporary_folder())
        self.addCleanup(lambda: Deferred.fromCoroutine(terminal.kill()))
        return terminal

    async def test_answer(self) -> None:
        """The answer is the typed text without surrounding spaces, and is shown."""
        terminal = self.ask("shown")
        await terminal.shows("Question 0: ")
        self.assertTrue(terminal.echoes)
        terminal.type(" my na")
        terminal.type("me \n")
        await terminal.shows("<my name>")
        self.assertIn(" my name \r\n", terminal.text)
        self.assertEqual(await terminal.code(), 0)

    async def test_hidden(self) -> None:
        """What is typed for a hidden question is not shown; afterwards typing is shown as before."""
        terminal = self.ask("hidden", "shown")
        await terminal.shows("Question 0: ")
        self.assertFalse(terminal.echoes)
        terminal.type("secret\n")
        await terminal.shows("Question 0: \r\nanswer 0 has 6 characters\r\nQuestion 1: ")
        self.assertTrue(terminal.echoes)
        self.assertNotIn("secret", terminal.text)

    async def test_end(self) -> None:
        """Ctrl-D is the end of input, hidden or not."""
        terminal = self.ask("shown", "hidden")
        await terminal.shows("Question 0: ")
        terminal.type("\x04")
        await terminal.shows("end of input 0")
        await terminal.shows("Question 1: ")
        self.assertFalse(terminal.echoes)
        terminal.type("\x04")
        await terminal.shows("end of input 1")
        self.assertEqual(await terminal.code(), 0)
        self.assertTrue(terminal.echoed_at_the_end)

    async def test_one_after_the_other(self) -> None:
        """Each question gets a line of its own, though both were typed at once."""
        terminal = self.ask("shown", "shown")
        terminal.type("one\ntwo\n")
        await terminal.shows("<one>")
        await terminal.shows("<two>")
        self.assertEqual(await terminal.code(), 0)
