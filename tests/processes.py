"""Real processes in tests: started with an environment, watched without sleeping, always ended by their own id."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tests.simulator_support.deployment import ControlledDeployment
from vespa.simulator.autoscaler import Report
from vespa.simulator.child import Child
from vespa.simulator.launch import ROOT, clean_environment, worker_command

WAIT_MAX_SECONDS = 60.0
POLL_SECONDS = 0.02
START_SECONDS = 0.5
"""In which the shortest command starts and ends on a machine that is not busy."""


_NO_ADMIN_PORT = {"VESPA_ADMIN_LISTEN": "off", "VESPA_CLIENT_ADMIN_LISTEN": "off"}
"""Many processes run at once: the default ports would be taken, and each test has to say what it looks at."""


class NotInTime(AssertionError):
    """What was waited for did not come; the processes' output is in the message."""


async def until(
    condition: Callable[..., object], seconds: float = WAIT_MAX_SECONDS, what: str = "the condition"
) -> None:
    """Return when the condition holds. Raises NotInTime after so many seconds."""
    deadline = reactor.seconds() + seconds
    while not condition():
        if reactor.seconds() > deadline:
            raise NotInTime(f"{what} did not hold within {seconds:g} seconds")
        await deferLater(reactor, POLL_SECONDS)


class ProcessCase(TestCase):
    """A test that starts processes. They are ended when it ends, and their output is shown where it failed."""

    timeout = 150  # longer than anything that a test waits for, whose own message says what did not come
    slow = True

    def temporary_folder(self) -> str:
        """A folder that goes away with the test; its path is short, as a Unix socket's must be."""
        folder = tempfile.mkdtemp(prefix="vespa-test-")
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        return folder

    def start(
        self,
        argv: Sequence[str],
        settings: Mapping[str, str] | None = None,
        *,
        folder: str | None = None,
        stdin: bytes = b"",
    ) -> Child:
        """
        Start a process in an environment that configures nothing of Vespa's but `settings`.

        It has no admin port, unless they name one; an empty value stands for the default.
        """
        environment = {**clean_environment(os.environ), **_NO_ADMIN_PORT, **(settings or {})}
        child = Child.start(reactor, argv, environment, folder=folder, stdin=stdin)
        self.addCleanup(self.end, child)
        return child

    def twistd(self, settings: Mapping[str, str], *arguments: str, folder: str | None = None) -> Child:
        """Start `twistd -n --pidfile= vespa`, or twistd with other arguments in the place of `vespa`."""
        return self.start(worker_command(*arguments), settings, folder=folder or self.temporary_folder())

    def deployment(
        self, on_report: Callable[[Report], None] = lambda report: None, **options: Any
    ) -> ControlledDeployment:
        """
        A deployment with nothing started yet; what it starts is ended with the test.

        `options` are `ControlledDeployment`'s own.
        """
        deployment = ControlledDeployment(reactor, self.temporary_folder(), os.environ, on_report=on_report, **options)
        self.addCleanup(lambda: Deferred.fromCoroutine(deployment.stop()))
        return deployment

    def end(self, child: Child) -> Deferred[int]:
        """End a process and wait for it; it is killed when asking did not help."""
        return Deferred.fromCoroutine(child.end(reactor))

    async def until_line(self, child: Child, pattern: str, seconds: float = WAIT_MAX_SECONDS) -> re.Match[str]:
        """Return the first line of a process's output that matches. Raises NotInTime, also when it ended without."""
        found: re.Match[str] | None = None
        seen = 0

        def look() -> bool:
            nonlocal found, seen
            ended = child.exit_code is not None
            for line in child.lines[seen:]:
                seen += 1
                if (found := re.search(pattern, line)) is not None:
                    return True
            return ended

        try:
            await until(look, seconds)
        except NotInTime:
            pass
        if found is None:
            raise NotInTime(f"no line matches {pattern!r}; exit code {child.exit_code}; output:\n{child.text}")
        return found

    async def until_exit(self, child: Child, seconds: float = WAIT_MAX_SECONDS) -> int:
        """Return a process's exit code when it ended of itself. Raises NotInTime."""
        try:
            await until(lambda: child.exit_code is not None, seconds)
        except NotInTime:
            raise NotInTime(f"still running after {seconds:g} seconds; output:\n{child.text}") from None
        assert child.exit_code is not None
        return child.exit_code

    async def assert_quick(self, took: float, seconds: float) -> None:
        """
        Something took less than `seconds`. On a busy machine it may take longer, as a start of a process does there.
        """
        if took < seconds:
            return
        began = reactor.seconds()
        await self.until_exit(self.start([sys.executable, "-m", "vespa.cli", "version"], folder=ROOT))
        start = reactor.seconds() - began
        self.assertLess(took, seconds * max(1.0, start / START_SECONDS), f"a start takes {start:.1f} s")

    def assert_clean_log(self, child: Child) -> None:
        """Nothing went wrong in a process: no traceback, nothing unhandled, nothing critical."""
        wrong: list[Any] = [
            line for line in child.lines if re.search(r"Traceback|Unhandled|CRITICAL|critical|never awaited", line)
        ]
        self.assertEqual(wrong, [], child.text)
