"""Tests of `vespa.simulator.backend_process`."""

from __future__ import annotations

import os
import signal
from typing import Any, cast

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.processes import ProcessCase, until
from vespa.simulator.backend_process import RESTART_SECONDS, START_SECONDS, BackendKeeper
from vespa.simulator.child import BackendChild


class FakeChild(BackendChild):
    """A process that listens and ends when the test says so."""

    pid = 7

    def __init__(self) -> None:
        super().__init__()
        self._exits: list[Deferred[int]] = []

    def listen(self, url: str = "http://127.0.0.1:4000") -> None:
        self.url = url

    def exit(self, code: int) -> None:
        self.exit_code = code
        waiting, self._exits = self._exits, []
        for each in waiting:
            each.callback(code)

    async def exited(self) -> int:
        if self.exit_code is not None:
            return self.exit_code
        self._exits.append(Deferred())
        return await self._exits[-1]

    async def end(self, reactor: Any, grace: float = 15.0) -> int:
        self.exit(0)
        return 0


class KeeperTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.ports: list[int] = []
        self.children: list[FakeChild] = []
        self.events: list[str] = []
        self.keeper = BackendKeeper(self.clock, self.start, self.events.append)

    def start(self, port: int) -> BackendChild:
        self.ports.append(port)
        self.children.append(FakeChild())
        return self.children[-1]

    def run_it(self) -> Deferred[str]:
        running = Deferred.fromCoroutine(self.keeper.run(0))
        self.children[0].listen()
        self.clock.advance(0.1)
        return running

    def test_started(self) -> None:
        """It returns the URL when the process listens."""
        self.assertEqual(self.successResultOf(self.run_it()), "http://127.0.0.1:4000")
        self.assertEqual((self.ports, self.events), ([0], []))

    def test_not_started(self) -> None:
        """A process that ends or hangs at its start is an error with what it printed."""
        running = Deferred.fromCoroutine(self.keeper.run(4000))
        self.children[0].lines.append("cannot listen on 127.0.0.1 port 4000")
        self.children[0].exit(1)
        self.clock.advance(0.1)
        self.assertEqual(str(self.failureResultOf(running, OSError).value), "cannot listen on 127.0.0.1 port 4000")
        running = Deferred.fromCoroutine(self.keeper.run(4000))
        self.clock.pump([0.5] * int(2 * START_SECONDS + 2))
        self.failureResultOf(running, OSError)

    def test_restarted(self) -> None:
        """A process that was killed is started again at the same port, after a while, however often."""
        self.run_it()
        for round in (1, 2):
            self.children[-1].exit(-9)
            self.assertEqual(self.events.pop(), "ended by signal 9; it starts again in 12 s")
            self.clock.advance(RESTART_SECONDS - 0.1)
            self.assertEqual(len(self.children), round)
            self.clock.advance(0.2)
            self.children[-1].listen()
            self.clock.advance(0.1)
            self.assertEqual(self.events.pop(), "runs again at http://127.0.0.1:4000: process 7")
        self.assertEqual(self.ports, [0, 4000, 4000])
        self.assertIs(self.keeper.child, self.children[-1])

    def test_not_restarted(self) -> None:
        """If it cannot start again this is told, and tried again."""
        self.run_it()
        self.children[0].exit(1)
        self.clock.advance(RESTART_SECONDS)
        self.children[1].lines.append("taken")
        self.children[1].exit(1)
        self.clock.advance(0.1)
        self.assertEqual(self.events[1:], ["did not start: taken", "ended with exit code 1; it starts again in 12 s"])

    def test_stopped(self) -> None:
        """After the stop none is started, be it while it runs or while it is away."""
        self.run_it()
        self.successResultOf(Deferred.fromCoroutine(self.keeper.stop(self.clock)))
        self.clock.advance(10 * RESTART_SECONDS)
        self.assertEqual(len(self.children), 1)


class ProcessTests(ProcessCase):
    async def test_killed(self) -> None:
        """A real backend is killed, and comes back at its port; the stop ends it in order."""
        deployment = self.deployment()
        events: list[str] = []
        keeper = BackendKeeper(reactor, lambda port: deployment.run_backend(port, 500.0), events.append)
        self.addCleanup(lambda: Deferred.fromCoroutine(keeper.stop(reactor)))
        url = await keeper.run(0)
        first = cast(BackendChild, keeper.child)
        assert first.pid is not None
        os.kill(first.pid, signal.SIGKILL)
        await until(lambda: any("runs again" in event for event in events))
        second = cast(BackendChild, keeper.child)
        self.assertIsNot(second, first)
        self.assertEqual(second.url, url)
        await keeper.stop(reactor)
        self.assertEqual(second.exit_code, 0, second.text)

    async def test_taken_port(self) -> None:
        """A port that is taken is one line that names it."""
        deployment = self.deployment()
        keeper = BackendKeeper(reactor, lambda port: deployment.run_backend(port, 500.0), lambda what: None)
        self.addCleanup(lambda: Deferred.fromCoroutine(keeper.stop(reactor)))
        port = int((await keeper.run(0)).rpartition(":")[2])
        other = BackendKeeper(reactor, lambda port: deployment.run_backend(port, 500.0), lambda what: None)
        error = await self.assertFailure(Deferred.fromCoroutine(other.run(port)), OSError)
        self.assertIn(f"cannot listen on 127.0.0.1 port {port}", str(error))
