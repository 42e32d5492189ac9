"""Laws of the demonstration's command: its exit codes, and that it leaves nothing behind however it ends."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from vespa.config.demo import DemoSettings
from vespa.runtime.terminal import Terminal
from vespa.simulator import demo as demo_module
from vespa.simulator.demo import SHOWN_OF_LOG, DemoRun, main
from vespa.simulator.demo_client import Unexpected
from vespa.simulator.processes import NotReady


class FakeDemo:
    """A demonstration that ends as the test says, with one client and one worker that have ended."""

    def __init__(self, *rest: Any) -> None:
        self.folder = rest[-1]
        self.quiet = False
        self.succeeded = False
        self.stopped: list[str] = []
        self.ends: Callable[[], Any] = lambda: None
        self.their_code: int | None = 0
        self.client = SimpleNamespace(exit_code=0, lines=[])
        self.worker = SimpleNamespace(exit_code=3, lines=[f"line {number}" for number in range(SHOWN_OF_LOG + 1)])
        self.deployment = SimpleNamespace(clients=[self.client], workers=[self.worker], stop=self.stop)
        self.backend = SimpleNamespace(stop=self.stop_backend)

    async def run(self) -> None:
        found = self.ends()
        if isinstance(found, Deferred):
            await found

    async def stop(self) -> int | None:
        self.stopped.append("deployment")
        return self.their_code

    async def stop_backend(self, reactor: object) -> None:
        self.stopped.append("backend")


class DemoRunTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.made: list[FakeDemo] = []

        def make(*rest: Any) -> FakeDemo:
            self.made.append(FakeDemo(*rest))
            return self.made[-1]

        self.patch(demo_module, "Demo", make)
        self.stream = io.StringIO()
        self.run_ = DemoRun(Clock(), DemoSettings(), {}, Terminal(self.stream, {}))
        (self.demo,) = self.made

    def ended(self, running: Deferred[int] | None = None) -> tuple[int, str]:
        """Its exit code and what it printed, once everything is stopped."""
        code = self.successResultOf(running or Deferred.fromCoroutine(self.run_.main()))
        self.assertEqual(self.demo.stopped, ["deployment", "backend"])
        self.assertFalse(os.path.exists(self.demo.folder))
        self.assertTrue(self.demo.quiet)
        return code, self.stream.getvalue()

    def fail_with(self, error: Exception) -> tuple[int, str]:
        def fail() -> None:
            raise error

        self.demo.ends = fail
        return self.ended()

    def test_done(self) -> None:
        """After success the exit code is 0, and it says how client and worker ended."""
        code, printed = self.ended()
        self.assertEqual(code, 0)
        for text in ("Done.", "ended with exit code 0", "ended with exit code 3", f"{self.demo.folder} is removed"):
            self.assertIn(text, printed)

    def test_their_code(self) -> None:
        """A client or worker that ends badly is a failure, and the last of its log is shown."""
        self.demo.their_code = 3
        code, printed = self.ended()
        self.assertEqual(code, 1)
        self.assertIn("client or worker ended with exit code 3", printed)
        self.assertIn("The last of the worker's log", printed)
        self.assertNotIn("The last of the client's log", printed)
        self.assertEqual(("line 0\n" in printed, f"line {SHOWN_OF_LOG}\n" in printed), (False, True))

    def test_interrupted(self) -> None:
        """Stopped before the end the exit code is 130; stopped after it, while it shows reports, it is 0."""
        for succeeded, expected in ((False, 130), (True, 0)):
            self.setUp()
            self.demo.succeeded = succeeded
            waiting: Deferred[None] = Deferred()
            self.demo.ends = lambda waiting=waiting: waiting  # type: ignore[misc]
            running = Deferred.fromCoroutine(self.run_.main())
            self.assertNoResult(running)
            waiting.errback(CancelledError())
            code, printed = self.ended(running)
            self.assertEqual(code, expected)
            self.assertIn("Stopping, as you asked", printed)

    def test_failures(self) -> None:
        """What can go wrong is told in words, without a traceback, and with the last of the log."""
        taken = CannotListenError("127.0.0.1", 8000, OSError(errno.EADDRINUSE, "Address already in use"))
        for error, said in (
            (NotReady("the worker ended"), "error: the worker ended"),
            (Unexpected("the response was 500"), "error: the response was 500"),
            (OSError(), "error: OSError"),
            (taken, "cannot listen on 127.0.0.1 port 8000: Address already in use; choose another with --autoscaler-"),
        ):
            self.setUp()
            code, printed = self.fail_with(error)
            self.assertEqual(code, 1)
            self.assertIn(said, printed)
            self.assertIn("The last of the worker's log", printed)

    def test_bug(self) -> None:
        """Any other error is a bug: everything is stopped all the same."""

        def fail() -> None:
            raise LookupError

        self.demo.ends = fail
        self.failureResultOf(Deferred.fromCoroutine(self.run_.main()), LookupError)
        self.assertEqual(self.demo.stopped, ["deployment", "backend"])
        self.assertFalse(os.path.exists(self.demo.folder))


class MainTests(SynchronousTestCase):
    def test_mistake(self) -> None:
        """An option that cannot be used is the exit code 2, and nothing is started."""
        errors = io.StringIO()
        self.patch(sys, "stderr", errors)
        self.assertEqual(main(["--rate=0"]), 2)
        self.assertIn("vespa-proxy demo: ", errors.getvalue())
        self.assertIn("--rate", errors.getvalue())
