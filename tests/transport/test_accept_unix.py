"""A listening unix socket: what is in its place, and another try after an error."""

from __future__ import annotations

import os
import socket

from twisted.internet import reactor
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.trial.unittest import TestCase

from vespa.transport.accept_unix import UNIXPort


class UNIXPortTests(TestCase):
    def setUp(self) -> None:
        # Short, because the path of a socket is limited.
        self.path = os.path.relpath(self.mktemp())
        self.lock = f"{self.path}.lock"

    def port(self) -> UNIXPort:
        return UNIXPort(os.fsencode(self.path), Factory(), 5, 0o600, reactor, True)

    async def assert_opens(self) -> None:
        port = self.port()
        port.startListening()
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(self.path)
        await port.stopListening()
        self.assertEqual((os.path.lexists(self.path), os.path.lexists(self.lock)), (False, False))

    def bind(self, *, listen: bool) -> socket.socket:
        other = socket.socket(socket.AF_UNIX)
        self.addCleanup(other.close)
        other.bind(self.path)
        if listen:
            other.listen()
        return other

    async def test_again(self) -> None:
        """A port that could not be opened may be tried again when its place is free."""
        with open(self.path, "w") as file:
            file.write("kept")
        self.assertRaises(CannotListenError, self.port().startListening)
        self.assertFalse(os.path.lexists(self.lock))
        with open(self.path) as file:
            self.assertEqual(file.read(), "kept")
        os.remove(self.path)
        await self.assert_opens()

    async def test_left_behind(self) -> None:
        """A socket at which nobody listens is replaced, even if another process now has the id in its lock file."""
        for pid in (os.getpid(), os.getppid()):
            self.bind(listen=False).close()
            os.symlink(str(pid), self.lock)
            await self.assert_opens()

    async def test_left_behind_without_a_lock(self) -> None:
        """So is that of a program that has no lock file."""
        self.bind(listen=False).close()
        await self.assert_opens()

    async def test_in_use(self) -> None:
        """A socket at which a program listens is not replaced, and its lock file stays."""
        other = self.bind(listen=True)
        self.assertRaises(CannotListenError, self.port().startListening)
        self.assertFalse(os.path.lexists(self.lock))
        os.symlink(str(os.getppid()), self.lock)
        self.assertRaises(CannotListenError, self.port().startListening)
        self.assertTrue(os.path.lexists(self.lock))
        self.assertEqual(other.getsockname(), self.path)
        self.assertTrue(os.path.exists(self.path))

    async def test_full(self) -> None:
        """A busy program, whose queue of connections is full, counts as listening."""
        other = self.bind(listen=False)
        other.listen(0)
        callers = [socket.socket(socket.AF_UNIX) for _ in range(4)]
        for caller in callers:
            self.addCleanup(caller.close)
            caller.setblocking(False)
            caller.connect_ex(self.path)
        self.assertRaises(CannotListenError, self.port().startListening)
        self.assertTrue(os.path.exists(self.path))
