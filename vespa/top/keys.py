"""Single keys from a terminal, without waiting for the end of a line."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

termios: Any
tty: Any
try:
    import termios
    import tty
except ImportError:  # Windows, where Ctrl-C ends the command
    termios = tty = None

END: Final = "\x04"


@implementer(IReadDescriptor)
class Keys:
    """
    Calls `on_key` with each key that is typed, from `start` to `stop`. Ctrl-C is still a signal.

    The end of a terminal that is gone is `END`, like Ctrl-D.
    """

    def __init__(self, reactor: Any, descriptor: int, on_key: Callable[[str], object]) -> None:
        self._reactor = reactor
        self._descriptor = descriptor
        self._on_key = on_key
        self._mode: Any = None

    def start(self) -> None:
        """Read keys, if the descriptor is a terminal that this process may read."""
        if termios is None or not os.isatty(self._descriptor) or not _is_foreground(self._descriptor):
            return
        self._mode = termios.tcgetattr(self._descriptor)
        tty.setcbreak(self._descriptor)
        self._reactor.addReader(self)

    def stop(self) -> None:
        """Give the terminal its mode back."""
        mode, self._mode = self._mode, None
        if mode is not None:
            self._reactor.removeReader(self)
            try:
                termios.tcsetattr(self._descriptor, termios.TCSADRAIN, mode)
            except termios.error:
                pass  # the terminal is gone

    def fileno(self) -> int:
        return self._descriptor

    def logPrefix(self) -> str:
        return "keys"

    def doRead(self) -> None:
        """The terminal has something to read."""
        try:
            typed = os.read(self._descriptor, 64)
        except OSError:
            typed = b""
        if not typed:
            self._reactor.removeReader(self)  # otherwise the reactor would call again at once
            self._on_key(END)
            return
        for key in typed.decode("utf-8", "replace"):
            self._on_key(key)

    def connectionLost(self, reason: Failure) -> None:
        """The reactor reads it no more: at the end, or because it cannot be read."""


def _is_foreground(descriptor: int) -> bool:
    """Whether this process may read the terminal: one in the background would be stopped."""
    try:
        return os.tcgetpgrp(descriptor) == os.getpgrp()
    except OSError:
        return False
