"""Laws of questions that a thread waits for."""

from __future__ import annotations

import io
from collections.abc import Callable
from queue import Queue
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import TestCase

from tests.processes import until
from vespa.client.command.screen import Screen
from vespa.client.command.threaded import ThreadedQuestions


class ThreadedTests(TestCase):
    timeout = 20

    def setUp(self) -> None:
        self.stream = io.StringIO()
        self.typed: Queue[str | BaseException] = Queue()
        self.hidden = 0
        self.questions = ThreadedQuestions(
            reactor, Screen(self.stream), read_line=self.read, read_hidden=self.read_hidden
        )

    def read(self) -> str:
        typed = self.typed.get(timeout=10)
        if isinstance(typed, BaseException):
            raise typed
        return typed

    def read_hidden(self) -> str:
        self.hidden += 1
        return self.read()

    def asked(self, ask: Callable[[str], Any], typed: str | BaseException) -> Deferred[str]:
        self.typed.put(typed)
        return Deferred.fromCoroutine(ask("What? "))

    async def test_answer(self) -> None:
        """The prompt is shown, and the answer comes without the spaces around it; the reactor runs meanwhile."""
        waiting = Deferred.fromCoroutine(self.questions.ask("Name: "))
        self.assertEqual((self.stream.getvalue(), self.questions.waiting), ("Name: ", 1))
        self.typed.put(" demo \r\n")
        self.assertEqual(await waiting, "demo")
        self.assertEqual((self.questions.waiting, self.hidden), (0, 0))
        self.assertEqual(await self.asked(self.questions.ask, "\n"), "")

    async def test_hidden(self) -> None:
        """What is not to be shown is read by the reader for that; an empty one is an answer."""
        self.assertEqual(await self.asked(self.questions.ask_hidden, "key"), "key")
        self.assertEqual(await self.asked(self.questions.ask_hidden, ""), "")
        self.assertEqual(self.hidden, 2)

    async def test_end_of_input(self) -> None:
        """The end of input is EOFError at either."""
        await self.assertFailure(self.asked(self.questions.ask, ""), EOFError)
        await self.assertFailure(self.asked(self.questions.ask_hidden, EOFError()), EOFError)

    async def test_interrupt(self) -> None:
        """A Ctrl-C that the hidden prompt took as a key ends the question as one that was cancelled."""
        await self.assertFailure(self.asked(self.questions.ask_hidden, KeyboardInterrupt()), CancelledError)

    async def test_cancel(self) -> None:
        """A question may be cancelled; that its thread still waits is known, and what is typed then hurts nobody."""
        waiting = Deferred.fromCoroutine(self.questions.ask("Name: "))
        waiting.cancel()
        await self.assertFailure(waiting, CancelledError)
        self.assertEqual(self.questions.waiting, 1)
        self.typed.put("late\n")
        await until(lambda: not self.questions.waiting)
