"""Asks questions at a terminal while the reactor runs: a thread waits for each answer."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable
from threading import Thread
from typing import TYPE_CHECKING, Any, Final, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

if TYPE_CHECKING:
    from rich.console import RenderableType

    from vespa.runtime.terminal import Terminal

termios: Any
try:
    import termios
except ImportError:  # Windows, where a hidden answer changes no mode of the terminal
    termios = None

_INTERRUPT_SECONDS: Final = 0.2
"""On Windows Ctrl-C also ends the input. The signal's handler gets so long before the end of input is reported."""


class Asks(Protocol):
    """Somebody who can answer questions."""

    async def ask(self, prompt: str, *, hidden: bool = False) -> str:
        """Return the answer without surrounding spaces. If `hidden`, the terminal does not show it.

        Raises EOFError at the end of input. May be cancelled.
        """

    def say(self, text: RenderableType) -> None:
        """Show a line or a table."""


class Questions:
    """
    Asks at a terminal.

    `read` shows a prompt and returns a line without its end, or raises EOFError. `read_hidden` does the same without
    showing the input, from the moment at which the prompt appears.
    """

    def __init__(
        self,
        reactor: Any,
        terminal: Terminal,
        *,
        read: Callable[[str], str] | None = None,
        read_hidden: Callable[[str], str] = getpass.getpass,
    ) -> None:
        self.waiting = 0
        """The number of threads that wait for a line. The interpreter cannot exit normally while one does."""
        self.say = terminal.print
        self._reactor = reactor
        self._read = read or terminal.input
        self._read_hidden = read_hidden

    async def ask(self, prompt: str, *, hidden: bool = False) -> str:
        modes = _terminal_modes()
        answer: Deferred[str] = Deferred()
        self.waiting += 1
        read = self._read_hidden if hidden else self._read
        Thread(target=self._wait, args=(read, prompt, answer), name="vespa-question", daemon=True).start()
        try:
            return (await answer).strip()
        except EOFError:
            await deferLater(self._reactor, _INTERRUPT_SECONDS)
            raise
        except CancelledError:
            _set_terminal_modes(modes)  # the thread with the hidden prompt still waits
            self.say("")
            raise

    def _wait(self, read: Callable[[str], str], prompt: str, answer: Deferred[str]) -> None:
        result: str | Failure
        try:
            result = read(prompt)
        except KeyboardInterrupt:
            result = Failure(CancelledError())  # the hidden prompt of Windows reads Ctrl-C as a key
        except BaseException:
            result = Failure()
        self._reactor.callFromThread(self._ended, answer, result)

    def _ended(self, answer: Deferred[str], result: str | Failure) -> None:
        self.waiting -= 1
        if not answer.called:  # otherwise it was cancelled
            answer.callback(result)


def _terminal_modes() -> list[Any] | None:
    try:
        modes: list[Any] | None = termios.tcgetattr(sys.stdin) if termios else None
    except (termios.error, OSError, ValueError):  # no terminal
        modes = None
    return modes


def _set_terminal_modes(modes: list[Any] | None) -> None:
    if modes is not None:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, modes)
