"""Questions where no reactor can watch the input, as none can watch Windows' console: a thread waits for the answer."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable
from threading import Thread
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from vespa.client.command.screen import Screen

_INTERRUPT_SECONDS: Final = 0.2
"""Ctrl-C ends the reading of a line, too; so long the signal's own word may take."""


class ThreadedQuestions:
    """
    What `screen.Questions` does, without a reactor that can watch the input.

    `read_line` returns a line, "" at the end of input; `read_hidden` one that was not shown, or raises EOFError.
    """

    def __init__(
        self,
        reactor: Any,
        screen: Screen,
        *,
        read_line: Callable[[], str] = lambda: sys.stdin.readline(),
        read_hidden: Callable[[], str] = lambda: getpass.getpass(""),
    ) -> None:
        self.waiting = 0
        """Threads that still wait for a line: they would keep the interpreter from ending."""
        self._reactor = reactor
        self._screen = screen
        self._read_line = read_line
        self._read_hidden = read_hidden

    async def ask(self, prompt: str) -> str:
        """Return the answer without the spaces around it. Raises EOFError at the end of input; may be cancelled."""
        self.say(prompt)
        line = await self._in_thread(self._read_line)
        if not line:
            raise EOFError("the input ended")
        return line.strip()

    async def ask_hidden(self, prompt: str) -> str:
        """As `ask`, but what is typed is not shown."""
        self.say(prompt)
        return (await self._in_thread(self._read_hidden)).strip()

    def say(self, text: str) -> None:
        """Show a text as it is."""
        self._screen.write(text)
        self._screen.flush()

    def _in_thread(self, read: Callable[[], str]) -> Deferred[str]:
        answer: Deferred[str] = Deferred()
        self.waiting += 1

        def told(result: Any) -> None:
            self.waiting -= 1
            if isinstance(result, str) and result:
                fire(result)
            elif isinstance(result, Failure) and result.check(KeyboardInterrupt):
                fire(Failure(CancelledError()))  # the hidden prompt takes Ctrl-C as a key
            else:
                self._reactor.callLater(_INTERRUPT_SECONDS, fire, result)

        def fire(result: Any) -> None:
            if not answer.called:
                answer.callback(result)

        def wait() -> None:
            result: Any
            try:
                result = read()
            except BaseException:
                result = Failure()
            self._reactor.callFromThread(told, result)

        Thread(target=wait, name="vespa-question", daemon=True).start()
        return answer
