"""A terminal as the client uses it: lines that stay, one at the bottom that is rewritten, and questions."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, TextIO

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

termios: Any
try:
    import termios
except ImportError:  # Windows, where `threaded` asks
    termios = None

CAN_ASK: Final = termios is not None
"""`Questions` can be used."""

_ERASE: Final = "\r\x1b[K"
_CONTROL: Final = dict.fromkeys([*range(32), *range(0x7F, 0xA0)], " ")


class Screen:
    """A terminal's stream. `live` keeps a line at the bottom, whatever else is written meanwhile, the log included."""

    def __init__(self, stream: TextIO, width: int = 0, *, escapes: bool = True) -> None:
        """`width` in columns; 0 is the terminal's own at each time. `escapes`: it follows ANSI's sequences."""
        self._stream = stream
        self._width = width
        self._escapes = escapes
        self._live = ""

    def write(self, text: str) -> int:
        """Write what stays: whole lines."""
        self._stream.write(f"{self._erase()}{text}{self._live}" if self._live else text)
        return len(text)

    def flush(self) -> None:
        """Have it appear."""
        self._stream.flush()

    def fileno(self) -> int:
        """The stream's descriptor."""
        return self._stream.fileno()

    def live(self, text: str) -> None:
        """Show a line in the place of the last one; "" for none."""
        # A line that fills the row would wrap, and then not be erased.
        text = text.translate(_CONTROL)[: max(1, (self._width or self._columns()) - 1)]
        if text == self._live:
            return
        erase, self._live = self._erase(), text
        try:
            self._stream.write(erase + text)
            self._stream.flush()
        except (OSError, ValueError):
            pass  # the terminal is gone, and requests go on

    def _erase(self) -> str:
        """What takes the live line away."""
        return _ERASE if self._escapes else f"\r{' ' * len(self._live)}\r"

    def _columns(self) -> int:
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or 80
        except (OSError, ValueError):
            return 80


class Questions:
    """
    Asks at a terminal, while the reactor runs on.

    The terminal itself gathers lines, as it does for any program that does not say otherwise: what is read is one.
    """

    def __init__(self, reactor: IReactorFDSet, descriptor: int, screen: Screen) -> None:
        self._reactor = reactor
        self._descriptor = descriptor
        self._screen = screen

    async def ask(self, prompt: str) -> str:
        """Return the answer without the spaces around it. Raises EOFError at the end of input; may be cancelled."""
        self.say(prompt)
        return await self._line()

    async def ask_hidden(self, prompt: str) -> str:
        """As `ask`, but what is typed is not shown."""
        with _without_echo(self._descriptor):
            try:
                self.say(prompt)
                return await self._line()
            finally:
                self.say("\n")  # the one that was typed is not shown either

    def say(self, text: str) -> None:
        """Show a text as it is."""
        self._screen.write(text)
        self._screen.flush()

    async def _line(self) -> str:
        answer: Deferred[bytes] = Deferred()
        reader = LineReader(self._descriptor, answer)
        self._reactor.addReader(reader)
        try:
            return (await answer).decode("utf-8", "replace").strip()
        finally:
            self._reactor.removeReader(reader)


@implementer(IReadDescriptor)
class LineReader:
    """Reads one line of a terminal, without a thread."""

    def __init__(self, descriptor: int, answer: Deferred[bytes]) -> None:
        self._descriptor = descriptor
        self._answer = answer
        self._read = b""

    def fileno(self) -> int:
        return self._descriptor

    def logPrefix(self) -> str:
        return "terminal"

    def doRead(self) -> None:
        try:
            data = os.read(self._descriptor, 4096)
        except OSError:  # it hung up
            data = b""
        self._read += data
        if not data:
            self._end(Failure(EOFError("the input ended")))
        elif b"\n" in self._read:
            self._end(self._read.partition(b"\n")[0])

    def connectionLost(self, reason: Failure) -> None:
        self._end(Failure(EOFError("the terminal hung up")))

    def _end(self, result: Any) -> None:
        if not self._answer.called:
            self._answer.callback(result)


@contextmanager
def _without_echo(descriptor: int) -> Iterator[None]:
    before = termios.tcgetattr(descriptor)
    hidden = [*before]
    hidden[3] = before[3] & ~termios.ECHO
    termios.tcsetattr(descriptor, termios.TCSAFLUSH, hidden)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
