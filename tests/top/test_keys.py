"""Laws of single keys from a terminal: each is told, and the terminal gets its mode back."""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from vespa.top import keys
from vespa.top.keys import END, Keys


class Readers:
    """A reactor that knows its readers."""

    def __init__(self) -> None:
        self.readers: list[Any] = []

    def addReader(self, reader: Any) -> None:
        self.readers.append(reader)

    def removeReader(self, reader: Any) -> None:
        if reader in self.readers:
            self.readers.remove(reader)


class KeysTests(SynchronousTestCase):
    def setUp(self) -> None:
        if keys.termios is None:
            raise SkipTest("this system has no such terminals")
        self.typist, self.terminal = os.openpty()
        self.is_open = {self.typist, self.terminal}
        self.addCleanup(self.close)
        self.reactor = Readers()
        self.typed: list[str] = []
        self.keys = Keys(self.reactor, self.terminal, self.typed.append)
        # The terminal of these tests is another one, if they have one at all.
        self.patch(os, "tcgetpgrp", lambda descriptor: os.getpgrp())

    def close(self) -> None:
        for descriptor in self.is_open:
            os.close(descriptor)

    def mode(self) -> Any:
        return keys.termios.tcgetattr(self.terminal)

    def test_keys(self) -> None:
        """Each key is told without waiting for the end of the line, and none is echoed."""
        self.keys.start()
        self.assertEqual(self.reactor.readers, [self.keys])
        self.assertEqual(self.keys.fileno(), self.terminal)
        os.write(self.typist, "qé".encode())
        self.keys.doRead()
        self.assertEqual(self.typed, ["q", "é"])
        self.assertFalse(self.mode()[3] & (keys.termios.ECHO | keys.termios.ICANON))
        self.assertTrue(self.mode()[3] & keys.termios.ISIG)  # so that Ctrl-C is a signal

    def test_mode(self) -> None:
        """The terminal gets its mode back, and is read no more."""
        before = self.mode()
        self.keys.start()
        self.assertNotEqual(self.mode(), before)
        self.keys.stop()
        self.assertEqual((self.mode(), self.reactor.readers), (before, []))
        self.keys.stop()

    def test_terminal_gone(self) -> None:
        """The end of the terminal is the key END, told once; to stop then raises nothing."""
        self.keys.start()
        os.close(self.typist)
        self.is_open.discard(self.typist)
        self.keys.doRead()
        self.keys.connectionLost(Failure(ConnectionDone()))
        self.assertEqual((self.typed, self.reactor.readers), ([END], []))
        self.keys.stop()

    def test_no_terminal(self) -> None:
        """A pipe is not read."""
        ends = os.pipe()
        self.is_open.update(ends)
        Keys(self.reactor, ends[0], self.typed.append).start()
        self.assertEqual(self.reactor.readers, [])

    def test_background(self) -> None:
        """A process in the background does not read the terminal, because it would be stopped."""
        before = self.mode()
        self.patch(os, "tcgetpgrp", lambda descriptor: os.getpgrp() + 1)
        self.keys.start()

        def none(descriptor: int) -> int:
            raise OSError

        self.patch(os, "tcgetpgrp", none)
        self.keys.start()
        self.assertEqual((self.reactor.readers, self.mode()), ([], before))
