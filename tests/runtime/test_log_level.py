"""Laws of the log's level while a process runs."""

from __future__ import annotations

import io
import os
import signal
from typing import Any

from twisted.internet import reactor
from twisted.logger import Logger, LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.processes import until
from vespa.runtime.log_level import NUMBER, LevelSignal, LevelSwitch
from vespa.runtime.logging import LineObserver


class LevelCase(SynchronousTestCase):
    level = LogLevel.info

    def setUp(self) -> None:
        self.stream = io.StringIO()
        self.observer = LineObserver(self.stream, self.level)
        self.switch = LevelSwitch(self.observer)
        globalLogPublisher.addObserver(self.observer)
        self.addCleanup(globalLogPublisher.removeObserver, self.observer)

    def use(self) -> None:
        """Have the log be in use, as it is once a first event came."""
        Logger(namespace="test").info("the first event")
        self.stream.truncate(0)
        self.stream.seek(0)

    def said(self) -> list[str]:
        """What was logged about the level since the last call."""
        lines = [line.partition("] ")[2] for line in self.stream.getvalue().splitlines()]
        self.stream.truncate(0)
        self.stream.seek(0)
        return lines


class SwitchTests(LevelCase):
    def test_set(self) -> None:
        """A level is set by name, and this is logged, at a level that shows neither info, too."""
        self.use()
        for name in ("error", "critical", "debug", "warn", "info"):
            self.switch.set(name)
            self.assertIs(self.observer.level, LogLevel.lookupByName(name))
            self.assertEqual(self.said(), [f"the log's level is {name} from now on"])

    def test_unknown(self) -> None:
        """A name that is none changes nothing."""
        self.use()
        for name in ("", "loud", "INFO"):
            error = self.assertRaises(ValueError, self.switch.set, name)
            self.assertIn("must be one of debug, info, warn, error, critical", str(error))
        self.assertEqual((self.observer.level, self.said()), (LogLevel.info, []))

    def test_toggle(self) -> None:
        """SIGUSR2 changes to debug and back."""
        self.use()
        self.switch.toggle()
        self.assertIs(self.observer.level, LogLevel.debug)
        self.switch.toggle()
        self.assertIs(self.observer.level, LogLevel.info)
        self.assertEqual(self.said(), [f"SIGUSR2: the log's level is {name} from now on" for name in ("debug", "info")])

    def test_after_a_change(self) -> None:
        """It goes back to the configured level, whatever was set by name meanwhile."""
        self.use()
        self.switch.set("error")
        self.switch.toggle()
        self.switch.toggle()
        self.assertIs(self.observer.level, LogLevel.info)

    def test_not_in_use(self) -> None:
        """If twistd has a log of its own, nothing changes, and that is said where it was asked for."""
        self.assertIn("twistd", str(self.assertRaises(ValueError, self.switch.set, "debug")))
        self.switch.toggle()
        self.assertIs(self.observer.level, LogLevel.info)
        self.assertIn("nothing changes", self.said()[0])


class QuietTests(LevelCase):
    level = LogLevel.error

    def test_back_to_errors(self) -> None:
        """A log of errors alone says that it becomes one again."""
        self.use()
        self.switch.toggle()
        self.switch.toggle()
        self.assertIs(self.observer.level, LogLevel.error)
        self.assertEqual(len(self.said()), 2)


class DebugTests(LevelCase):
    level = LogLevel.debug

    def test_less(self) -> None:
        """A log that is configured to be debug changes to info, and back."""
        self.use()
        self.switch.toggle()
        self.assertIs(self.observer.level, LogLevel.info)
        self.switch.toggle()
        self.assertIs(self.observer.level, LogLevel.debug)


class SignalTests(TestCase):
    async def test_signal(self) -> None:
        """The signal calls `toggle` in the reactor's thread, each time."""
        if NUMBER is None:
            self.skipTest("this system has no SIGUSR2")
        self.addCleanup(signal.signal, NUMBER, signal.getsignal(NUMBER))
        calls: list[int] = []
        taking: Any = LevelSignal(reactor, lambda: calls.append(1))  # type: ignore[arg-type]
        taking.startService()
        for count in (1, 2):
            os.kill(os.getpid(), NUMBER)
            self.assertEqual(len(calls), count - 1)
            await until(lambda count=count: len(calls) == count)

    def test_without_the_signal(self) -> None:
        """A system without the signal has nothing to take."""
        taken: list[int] = []
        service: Any = LevelSignal(
            reactor,  # type: ignore[arg-type]
            lambda: None,
            number=None,
            set_handler=lambda number, handler: taken.append(number),
        )
        service.startService()
        self.assertEqual(taken, [])
