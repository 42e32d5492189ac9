"""Laws of a process's start and end, by twistd and by a command."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.error import ReactorNotRunning
from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

from vespa.runtime.process import Main, check_pidfile, install_reactor, level, run, use_our_log


class LevelTests(SynchronousTestCase):
    def test_another_programs_log(self) -> None:
        """Within a program that has its own log, as in these tests, there is no level of ours."""
        self.assertEqual(level(), "")


class ReactorTests(SynchronousTestCase):
    def test_reactor_is_left(self) -> None:
        """A reactor that is there already, because --reactor named one or for whatever reason, stays."""
        before = sys.modules["twisted.internet.reactor"]
        install_reactor()
        self.assertIs(sys.modules["twisted.internet.reactor"], before)


class ParentOptions(usage.Options):
    """twistd's own options, as far as the log goes."""

    def __init__(self, **chosen: object) -> None:
        super().__init__()
        self.update({"nodaemon": True, "debug": False, "logger": None, "syslog": False, "logfile": None, **chosen})


class LogTests(SynchronousTestCase):
    def test_ours_on_stdout(self) -> None:
        """In the foreground the log is ours."""
        for chosen in ({}, {"logfile": "-"}, {"nodaemon": False, "debug": True}):
            parent = ParentOptions(**chosen)
            use_our_log(parent)
            self.assertEqual(parent["logger"], "vespa.runtime.process.log_observer")

    def test_pidfile(self) -> None:
        """A pidfile that cannot be written is an error before anything starts."""
        error = self.assertRaises(SystemExit, check_pidfile, ParentOptions(pidfile="/nowhere/x.pid"))
        self.assertIn("--pidfile=/nowhere/x.pid: there is no such folder", str(error))
        for fine in ("", self.mktemp()):
            check_pidfile(ParentOptions(pidfile=fine))

    def test_theirs_otherwise(self) -> None:
        """A log that was asked for by name, and that of a daemon, stay twistd's."""
        for chosen in ({"nodaemon": False}, {"logger": "x.y"}, {"syslog": True}, {"logfile": "a.log"}):
            parent = ParentOptions(**chosen)
            use_our_log(parent)
            self.assertEqual(parent["logger"], chosen.get("logger"))

    def test_twist(self) -> None:
        """A program without these options keeps its log."""
        parent = usage.Options()
        use_our_log(parent)
        self.assertEqual(dict(parent), {})


class RunningReactor:
    """A reactor that does what is to be done when it runs, and then what comes before its end."""

    def __init__(self, while_running: Callable[[], object] = lambda: None) -> None:
        self.stopped = False
        self.sigInt: Any = None
        self._while_running = while_running
        self._at_start: list[tuple[Any, tuple[object, ...]]] = []
        self._at_end: list[Callable[[], Deferred[None]]] = []

    def callWhenRunning(self, callable: Any, *args: object) -> None:
        self._at_start.append((callable, args))

    def callFromThread(self, callable: Any, *args: object) -> None:
        callable(*args)

    def addSystemEventTrigger(self, phase: str, event: str, callable: Callable[[], Deferred[None]]) -> None:
        self._at_end.append(callable)

    def run(self) -> None:
        for callable, args in self._at_start:
            callable(*args)
        self._while_running()
        assert self.stopped
        for end in self._at_end:
            assert end().called

    def stop(self) -> None:
        if self.stopped:
            raise ReactorNotRunning
        self.stopped = True


class Work(Main):
    """Ends at once with a code or an error; or waits, and ends in order when it is cancelled."""

    ended_in_order = False

    def __init__(self, reactor: RunningReactor, ends: int | Exception | None) -> None:
        super().__init__(reactor)
        self.ends = ends

    async def main(self) -> int:
        if isinstance(self.ends, Exception):
            raise self.ends
        if self.ends is None:
            try:
                await Deferred()
            except CancelledError:
                await succeed(None)
                self.ended_in_order = True
                return 7
        return self.ends or 0


class RunTests(SynchronousTestCase):
    def setUp(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            self.addCleanup(signal.signal, number, signal.getsignal(number))

    def test_code(self) -> None:
        """A command that ends by itself stops the reactor, and what it returns is the exit code."""
        for code in (0, 3):
            reactor = RunningReactor()
            self.assertEqual(run(reactor, Work(reactor, code)), code)
            self.assertTrue(reactor.stopped)

    def test_bug(self) -> None:
        """An unexpected error is logged, and gives exit code 1."""
        reactor = RunningReactor()
        self.assertEqual(run(reactor, Work(reactor, KeyError("oops"))), 1)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_signal(self) -> None:
        """A signal cancels the command, whose end is waited for; the exit code is its own."""
        reactor = RunningReactor(lambda: signal.raise_signal(signal.SIGTERM))
        work = Work(reactor, None)
        self.assertEqual((run(reactor, work), work.ended_in_order), (7, True))

    def test_own_signals(self) -> None:
        """A command that handles signals itself gets those that it names, whatever the reactor would install."""
        seen = []

        def received(number: int, frame: object) -> None:
            seen.append(number)
            reactor.stop()

        reactor = RunningReactor(lambda: signal.raise_signal(signal.SIGINT))
        work = Work(reactor, None)
        self.assertEqual(run(reactor, work, on_signal=received, signals=[signal.SIGINT]), 7)
        self.assertEqual((seen, reactor.sigInt), ([signal.SIGINT], received))

    def test_stopped_before(self) -> None:
        """Stopped before it began, it has ended."""
        self.successResultOf(Work(RunningReactor(), None).stopService())
