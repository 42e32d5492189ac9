"""Tests of `vespa.simulator.child`."""

from __future__ import annotations

import os
import sys
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from tests.processes import NotInTime, ProcessCase, until
from vespa.simulator.child import BackendChild, Child, WorkerChild


class ChildTests(ProcessCase):
    def python(self, code: str, **options: Any) -> Child:
        return self.start([sys.executable, "-c", code], **options)

    async def test_lines(self) -> None:
        """What a process writes is kept line by line, from both streams, an unended last line included."""
        child = self.python("import sys; print('one\\ntwo', flush=True); print('three', end='', file=sys.stderr)")
        self.assertEqual(await child.exited(), 0)
        self.assertEqual(sorted(child.lines), ["one", "three", "two"])

    async def test_addresses(self) -> None:
        """A proxy's status page is in its log, as text or JSON; the backend prints its address."""
        said = "status page and metrics: http://127.0.0.1:9465"
        for line in (said, '{"level": "info", "message": "' + said + '"}'):
            argv = [sys.executable, "-c", f"print({line!r})"]
            worker = WorkerChild.start(reactor, argv, os.environ)
            await worker.exited()
            self.assertEqual(worker.status_page, "http://127.0.0.1:9465")
        backend = BackendChild.start(
            reactor, [sys.executable, "-c", "print('backend: http://127.0.0.1:4')"], os.environ
        )
        self.assertEqual(await backend.listening(reactor, 30.0), "http://127.0.0.1:4")
        await backend.exited()

    async def test_input(self) -> None:
        """A process gets its input, and then its end."""
        child = self.python("import sys; print(sys.stdin.read().upper())", stdin=b"abc")
        await child.exited()
        self.assertEqual(child.lines, ["ABC"])

    async def test_exit_code(self) -> None:
        """An exit code is told, to whoever asks later too, and the process has no id any more."""
        child = self.python("raise SystemExit(3)")
        self.assertIsNotNone(child.pid)
        self.assertEqual([await child.exited(), await child.exited()], [3, 3])
        self.assertIsNone(child.pid)

    async def test_end(self) -> None:
        """Ending a process asks it with TERM; doing it again changes nothing."""
        child = self.python("import signal; print('ready', flush=True); signal.pause()")
        await until(lambda: child.lines)
        self.assertEqual([await child.end(reactor), await child.end(reactor)], [-15, -15])

    async def test_kill(self) -> None:
        """A process that does not end when asked is killed."""
        child = self.python(
            "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True)\n"
            "while True: signal.pause()"
        )
        await until(lambda: child.lines)
        self.assertEqual(await child.end(reactor, grace=0.1), -9)

    async def test_until_line(self) -> None:
        """Waiting for a line ends when it comes, and fails when the process ends without it."""
        child = self.python("print('port 5', flush=True)")
        self.assertEqual((await self.until_line(child, r"port (\d+)"))[1], "5")
        await self.assertFailure(Deferred.fromCoroutine(self.until_line(child, "never")), NotInTime)
