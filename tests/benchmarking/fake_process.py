"""A process of the test's own making, and a runner of benchmarks that starts it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.interfaces import IProcessProtocol, IProcessTransport, IReactorProcess
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from vespa.benchmarking.contract import Level
from vespa.benchmarking.process import BenchmarkError
from vespa.benchmarking.runner import Runner


@implementer(IProcessTransport)
class FakeProcess:
    """A process that does what the test says, and remembers the signals it got."""

    pid = 12345

    def __init__(self, protocol: Any) -> None:
        self.protocol = protocol
        self.signals: list[object] = []
        self.input = b""
        self.closed: list[int] = []
        self.exited = False
        protocol.makeConnection(self)

    def write(self, data: bytes) -> None:
        self.input += data

    def signalProcess(self, signalID: str | int) -> None:
        if self.exited:
            raise ProcessExitedAlready()
        self.signals.append(signalID)

    def closeChildFD(self, descriptor: int) -> None:
        self.closed.append(descriptor)

    def says(self, descriptor: int, data: bytes) -> None:
        self.protocol.childDataReceived(descriptor, data)

    def answers(self, **response: object) -> None:
        self.says(3, json.dumps(response).encode() + b"\n")

    def exits(self, status: int | None = 0, signal: int | None = None, pipes: bool = True) -> None:
        self.exited = True
        error = ProcessTerminated(status, signal) if status or signal else ProcessDone(0)
        self.protocol.processExited(Failure(error))
        if pipes:
            self.protocol.processEnded(Failure(error))

    def closeStdin(self) -> None: ...
    def closeStdout(self) -> None: ...
    def closeStderr(self) -> None: ...
    def writeToChild(self, childFD: int, data: bytes) -> None: ...
    def writeSequence(self, seq: Any) -> None: ...
    def loseConnection(self) -> None: ...
    def getPeer(self) -> Any: ...
    def getHost(self) -> Any: ...


@implementer(IReactorProcess)
class FakeSpawner:
    def __init__(self, error: OSError | None = None) -> None:
        self.error = error
        self.spawned: list[dict[str, Any]] = []
        self.process: FakeProcess

    def spawnProcess(
        self,
        processProtocol: IProcessProtocol,
        executable: bytes | str,
        args: Any = (),
        env: Mapping[Any, Any] | None = None,
        path: bytes | str | None = None,
        uid: int | None = None,
        gid: int | None = None,
        usePTY: Any = False,
        childFDs: Mapping[int, int | str] | None = None,
    ) -> IProcessTransport:
        if self.error:
            raise self.error
        self.spawned.append({"executable": executable, "args": args, "env": env, "childFDs": childFDs})
        self.process = FakeProcess(processProtocol)
        return self.process


class RunnerCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.spawner = FakeSpawner()
        self.lines: list[str] = []
        self.levels: list[Level] = []
        self.shares: list[float] = []

    def start(self, **changes: Any) -> Deferred[float]:
        runner = Runner(changes.pop("spawner", self.spawner), self.clock, {"MODEL_NAME": "tiny", "MASTER_TOKEN": "x"})
        options: dict[str, Any] = {
            "timeout": 600.0,
            "on_progress": self.lines.append,
            "on_level": self.levels.append,
            "on_share": self.shares.append,
            **changes,
        }
        return Deferred.fromCoroutine(runner.run("a.b:c", "http://backend", **options))

    def tearDown(self) -> None:
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def error(self, running: Deferred[float]) -> str:
        return str(self.failureResultOf(running, BenchmarkError).value)
