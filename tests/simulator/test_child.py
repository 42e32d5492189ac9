"""Tests of `vespa.simulator.child` and `vespa.simulator.launch`."""

from __future__ import annotations

import os
import sys

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.processes import NotInTime, ProcessCase, until
from vespa.simulator.child import Child
from vespa.simulator.launch import clean_environment, free_port, worker_command, worker_environment


class ChildTests(ProcessCase):
    def python(self, code: str, **options: bytes) -> Child:
        return self.start([sys.executable, "-c", code], **options)

    async def test_lines(self) -> None:
        """What a process writes is kept line by line, from both streams, an unended last line included."""
        child = self.python("import sys; print('one\\ntwo', flush=True); print('three', end='', file=sys.stderr)")
        self.assertEqual(await child.exited(), 0)
        self.assertEqual(sorted(child.lines), ["one", "three", "two"])

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


class LaunchTests(SynchronousTestCase):
    def test_clean(self) -> None:
        """What configures Vespa is left out of a clean environment, and all else stays."""
        given = {"PATH": "/bin", "VESPA_UNSECURED": "true", "VAST_TCP_PORT_1": "1", "MASTER_TOKEN": "x", "USE_SSL": "1"}
        clean = clean_environment(given)
        self.assertEqual(set(clean), {"PATH", "PYTHONPATH", "PYTHONUNBUFFERED", "PYTHONIOENCODING"})

    def test_path(self) -> None:
        """The Python path that was set is kept, behind our own."""
        parts = clean_environment({"PYTHONPATH": "/mine"})["PYTHONPATH"].split(os.pathsep)
        self.assertEqual(parts[1:], ["/mine"])
        self.assertTrue(os.path.exists(os.path.join(parts[0], "twisted", "plugins", "vespa_plugin.py")))

    def test_worker(self) -> None:
        """A worker's own port is the one that its environment says leads there."""
        settings = worker_environment(port=5, backend_url="http://b", report_addr="http://a", cache_file="c")
        self.assertEqual((settings["VESPA_WORKER_PORT"], settings["VAST_TCP_PORT_5"]), ("5", "5"))
        self.assertEqual(worker_command()[-1], "vespa")
        self.assertEqual(worker_command("-y", "vespa.tac")[-2:], ["-y", "vespa.tac"])


class PortTests(TestCase):
    def test_free(self) -> None:
        """A free port can be listened at."""
        port = reactor.listenTCP(free_port(), Factory(), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
