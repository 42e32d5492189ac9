"""Tests of `vespa.simulator.child`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.processes import NotInTime, ProcessCase, until
from vespa.simulator import launch
from vespa.simulator.child import BackendChild, Child, ClientChild, WorkerChild
from vespa.simulator.launch import worker_command


class Process:
    """The transport of a process that is none: what it was sent is known, and the test says what it does."""

    pid = 4711

    def __init__(self, child: Child) -> None:
        self._child = child
        self.input = b""
        self.has_input = True
        self.signals: list[str] = []
        self.has_exited = False

    def write(self, data: bytes) -> None:
        self.input += data

    def closeStdin(self) -> None:
        self.has_input = False

    def signalProcess(self, name: str) -> None:
        if self.has_exited:
            raise ProcessExitedAlready
        self.signals.append(name)

    def say(self, data: bytes, stream: int = 1) -> None:
        self._child.childDataReceived(stream, data)

    def end(self, code: int | None = 0, signal: int | None = None) -> None:
        self.has_exited = True
        reason = Failure(ProcessDone(0) if code == 0 else ProcessTerminated(code, signal))
        self._child.processExited(reason)
        self._child.processEnded(reason)


class Processes(Clock):
    """A reactor that starts no processes."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[tuple[list[str], dict[str, str], str | None]] = []

    def spawnProcess(self, child: Child, executable: str, args: list[str], env: Any, path: str | None) -> None:
        self.started.append((args, env, path))
        child.makeConnection(Process(child))


class MemoryTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = Processes()

    def start(self, kind: type[Child] = Child, argv: Sequence[str] = ("program", "-x")) -> tuple[Any, Process]:
        child = kind.start(self.reactor, argv, {"A": "b"}, folder="/somewhere", stdin=b"order")
        process: Any = child.transport
        return child, process

    def test_start(self) -> None:
        """A process gets its command, its whole environment, its folder, and its input with an end."""
        child, process = self.start()
        self.assertEqual(self.reactor.started, [(["program", "-x"], {"A": "b"}, "/somewhere")])
        self.assertEqual((process.input, process.has_input, child.pid), (b"order", False, 4711))

    def test_lines(self) -> None:
        """Lines are kept however their bytes come, each stream by itself; the text has the unended too."""
        child, process = self.start()
        process.say(b"on")
        process.say(b"erro", 2)
        process.say(b"e\r\ntwo\nth")
        self.assertEqual((child.lines, child.text), (["one", "two"], "one\ntwo\nth\nerro"))
        process.say(b"r\xff\n", 2)
        process.end()
        self.assertEqual(child.lines, ["one", "two", "error\ufffd", "th"])

    def test_addresses(self) -> None:
        """The first address that a line has is kept: of a client, of a backend, and of a status page."""
        client, process = self.start(ClientChild)
        process.say(b"status page and metrics: http://127.0.0.1:9465/\nready: http://127.0.0.1:8010\n")
        process.say(b"ready: http://127.0.0.1:1\nstatus page and metrics: http://127.0.0.1:2\n")
        self.assertEqual((client.status_page, client.url), ("http://127.0.0.1:9465/", "http://127.0.0.1:8010"))
        self.assertEqual(len(client.lines), 4)
        worker, process = self.start(WorkerChild)
        process.say(b'{"message": "status page and metrics: http://127.0.0.1:9464"}\n')
        self.assertEqual(worker.status_page, "http://127.0.0.1:9464")
        backend, process = self.start(BackendChild)
        process.say(b"backend: http://127.0.0.1:4\nbackend: http://127.0.0.1:5\n")
        self.assertEqual(backend.url, "http://127.0.0.1:4")

    def test_listening(self) -> None:
        """Waiting for a backend ends with its address, its last line if it ends before, or with the time."""
        backend, process = self.start(BackendChild)
        waiting = Deferred.fromCoroutine(backend.listening(self.reactor, 5.0))
        self.assertNoResult(waiting)
        process.say(b"backend: http://127.0.0.1:4\n")
        self.reactor.advance(0.1)
        self.assertEqual(self.successResultOf(waiting), "http://127.0.0.1:4")
        backend, process = self.start(BackendChild)
        waiting = Deferred.fromCoroutine(backend.listening(self.reactor, 5.0))
        process.say(b"the port is taken")
        process.end(1)
        self.reactor.advance(0.1)
        self.assertEqual(str(self.failureResultOf(waiting, OSError).value), "the port is taken")
        backend, _ = self.start(BackendChild)
        waiting = Deferred.fromCoroutine(backend.listening(self.reactor, 5.0))
        self.reactor.pump([1.0] * 6)
        self.assertIn("does not start", str(self.failureResultOf(waiting, OSError).value))

    def test_exit_code(self) -> None:
        """The exit code is told to all who wait for it, and who ask later; a process that ended has no id."""
        child, process = self.start()
        waiting = [Deferred.fromCoroutine(child.exited()) for _ in range(2)]
        waiting[0].cancel()
        self.failureResultOf(waiting[0])
        process.end(3)
        self.assertEqual((self.successResultOf(waiting[1]), child.exit_code, child.pid), (3, 3, None))
        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(child.exited())), 3)

    def test_end(self) -> None:
        """A process is asked to end, and killed if it does not; one that has ended gets no signal."""
        child, process = self.start()
        ending = Deferred.fromCoroutine(child.end(self.reactor, grace=2.0))
        self.reactor.advance(1.9)
        self.assertEqual(process.signals, ["TERM"])
        self.reactor.advance(0.2)
        self.assertEqual(process.signals, ["TERM", "KILL"])
        process.end(None, 9)
        self.assertEqual(self.successResultOf(ending), -9)
        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(child.end(self.reactor))), -9)
        self.assertEqual((process.signals, self.reactor.getDelayedCalls()), (["TERM", "KILL"], []))

    def test_ends_with_input(self) -> None:
        """Where the end of its input stops a process, its input stays open until then, and is closed after its end."""
        self.patch(launch, "STOPS_BY_SIGNAL", False)
        child, process = self.start(argv=worker_command())
        self.assertTrue(process.has_input)
        child.signal("USR2")
        self.assertEqual((process.has_input, process.signals), (True, ["USR2"]))
        child.signal("INT")
        self.assertEqual((process.has_input, process.signals), (False, ["USR2"]))
        child, process = self.start(argv=worker_command())
        process.end()
        self.assertFalse(process.has_input)


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
