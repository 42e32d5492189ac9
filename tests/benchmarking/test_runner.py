"""The benchmark's runner, with a process of the test's own making and a clock that only the test moves."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.interfaces import IProcessProtocol, IProcessTransport, IReactorProcess
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from vespa.benchmarking import isolated
from vespa.benchmarking.process import LOST_SECONDS, PIPES_SECONDS, TERM_SECONDS, BenchmarkError
from vespa.benchmarking.runner import Runner, TookTooLong, child_environment


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


class RunTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.spawner = FakeSpawner()
        self.lines: list[str] = []

    def start(self, **changes: Any) -> Deferred[float]:
        runner = Runner(changes.pop("spawner", self.spawner), self.clock, {"MODEL_NAME": "tiny", "MASTER_TOKEN": "x"})
        options: dict[str, Any] = {"timeout": 600.0, "on_progress": self.lines.append, **changes}
        return Deferred.fromCoroutine(runner.run("a.b:c", "http://backend", **options))

    def tearDown(self) -> None:
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def error(self, running: Deferred[float]) -> str:
        return str(self.failureResultOf(running, BenchmarkError).value)

    def test_fakes(self) -> None:
        """The fakes provide what they stand for."""
        running = self.start()
        verifyObject(IReactorProcess, self.spawner)
        verifyObject(IProcessTransport, self.spawner.process)
        self.spawner.process.exits(1)
        self.error(running)

    def test_result(self) -> None:
        """The result is given once the process is gone, and not before."""
        running = self.start()
        self.spawner.process.answers(result=123.5)
        self.assertNoResult(running)
        self.spawner.process.exits()
        self.assertEqual(self.successResultOf(running), 123.5)
        self.assertEqual(self.spawner.process.signals, [])
        self.assertEqual(sorted(self.spawner.process.closed), [0, 1, 2, 3])

    def test_start(self) -> None:
        """The child is this interpreter; its orders come on standard input, nothing of them in its arguments."""
        running = self.start(ca_file="/ca.pem", authorization="Bearer k")
        [spawned] = self.spawner.spawned
        self.assertEqual(spawned["executable"], sys.executable)
        self.assertEqual(spawned["args"], [sys.executable, isolated.__file__])
        self.assertEqual(spawned["childFDs"], {0: "w", 1: "r", 2: "r", 3: "r"})
        orders = json.loads(self.spawner.process.input)
        self.assertEqual(
            orders,
            {
                "spec": "a.b:c",
                "backend_url": "http://backend",
                "ca_file": "/ca.pem",
                "authorization": "Bearer k",
                "check": False,
            },
        )
        self.spawner.process.exits(1)
        self.error(running)

    def test_path(self) -> None:
        """The script's own folder goes, first on the path or not there (PYTHONSAFEPATH); nobody else's goes for it."""
        here = os.path.dirname(isolated.__file__)
        ours = os.path.dirname(os.path.dirname(here))
        for path in ([here, "/theirs", "", "."], ["/theirs"], ["/theirs", "/now", ours]):
            isolated.isolate(path, "/now")
            self.assertEqual(path, ["/theirs", ours, "/now"])

    def test_cannot_start(self) -> None:
        """A system that starts no process fails the benchmark, not the worker."""
        running = self.start(spawner=FakeSpawner(OSError(12, "Cannot allocate memory")))
        self.assertIn("Cannot allocate memory", self.error(running))

    def test_concurrency(self) -> None:
        """A result may tell how many requests at once it was had with; nonsense about that is no matter."""
        for told, expected in ((32, 32), (None, 0), ("32", 0), (-1, 0), (True, 0)):
            running = self.start()
            self.spawner.process.answers(result=2.0, concurrency=told)
            self.spawner.process.exits()
            figure = self.successResultOf(running)
            self.assertEqual((figure, getattr(figure, "concurrency", None)), (2.0, expected))

    def test_hidden(self) -> None:
        """The backend's key is hidden in whatever the process says, also where it was cut off within it."""
        running = self.start(authorization="Bearer abcdefghijkl")
        self.spawner.process.says(
            1, b"got Bearer abcdefghijkl and abcdefghijkl back\n" + b"x" * 489 + b"abcdefghijkl\n"
        )
        self.spawner.process.answers(error="401: abcdefghijkl is no key, Bearer abcdefgh…")
        self.spawner.process.exits()
        self.assertEqual(self.error(running), "401: [hidden] is no key, [hidden]…")
        self.assertEqual(self.lines[0], "got [hidden] and [hidden] back")
        self.assertNotIn("abcdefgh", "".join(self.lines))

    def test_check(self) -> None:
        """A check imports and no more: it ends well, or with what is wrong."""
        for response, expected in (({"checked": True}, None), ({"error": "no such module"}, "no such module")):
            runner = Runner(self.spawner, self.clock, {})
            checking = Deferred.fromCoroutine(runner.check("a.b:c", timeout=30.0, on_progress=self.lines.append))
            self.assertTrue(json.loads(self.spawner.process.input)["check"])
            self.spawner.process.answers(**response)
            self.spawner.process.exits()
            if expected is None:
                self.assertIsNone(self.successResultOf(checking))
            else:
                self.assertIn(expected, str(self.failureResultOf(checking, BenchmarkError).value))

    def test_error(self) -> None:
        """The child's message is the error."""
        running = self.start()
        self.spawner.process.answers(error="RuntimeError: boom")
        self.spawner.process.exits()
        self.assertEqual(self.error(running), "RuntimeError: boom")

    def test_wrong_result(self) -> None:
        """A result that is no throughput is an error, whatever the child thought of it."""
        for result in (float("nan"), float("inf"), 0, -1.5, True, "1", None, [1.0], 10**400):
            running = self.start()
            self.spawner.process.answers(result=result)
            self.spawner.process.exits()
            self.assertIn("result is wrong", self.error(running))

    def test_first_response(self) -> None:
        """Only the first response counts."""
        running = self.start()
        self.spawner.process.says(3, b'{"result": 1.0}\n{"result": 2.0}\n{"error": "late"}\n')
        self.spawner.process.exits(1)
        self.assertEqual(self.successResultOf(running), 1.0)

    def test_response_in_pieces(self) -> None:
        """A response may arrive in pieces, and after the process has exited."""
        running = self.start()
        self.spawner.process.says(3, b'{"resu')
        self.spawner.process.exits(pipes=False)
        self.spawner.process.says(3, b'lt": 2.5}\n')
        self.spawner.process.protocol.processEnded(Failure(ProcessDone(0)))
        self.assertEqual(self.successResultOf(running), 2.5)

    def test_died(self) -> None:
        """A process that ends without a response is an error that says how it ended and what it said last."""
        for exits, expected in (
            ({"status": 0}, "its process ended before there was a result: last words"),
            ({"status": 3}, "its process ended with status 3 before there was a result: last words"),
            ({"status": None, "signal": 11}, "its process was killed by signal 11 (Segmentation fault) before"),
        ):
            running = self.start()
            self.spawner.process.says(2, b"first\nlast words\n")
            self.spawner.process.exits(**exits)
            self.assertIn(expected, self.error(running))

    def test_deadline(self) -> None:
        """At the deadline the process is asked to end; ended, the deadline is the error."""
        running = self.start(timeout=30.0)
        self.clock.advance(29.9)
        self.assertEqual(self.spawner.process.signals, [])
        self.clock.advance(0.1)
        self.assertEqual(self.spawner.process.signals, ["TERM"])
        self.assertNoResult(running)
        self.spawner.process.exits(None, 15)
        self.assertEqual(str(self.failureResultOf(running, TookTooLong).value), "it took longer than 30 s")

    def test_deaf(self) -> None:
        """A process that ignores SIGTERM is killed."""
        running = self.start(timeout=30.0)
        self.clock.advance(30.0)
        self.clock.advance(TERM_SECONDS)
        self.assertEqual(self.spawner.process.signals, ["TERM", "KILL"])
        self.spawner.process.exits(None, 9)
        self.assertEqual(self.error(running), "it took longer than 30 s")

    def test_undying(self) -> None:
        """A process that survives SIGKILL is given up, so that the worker goes on."""
        running = self.start(timeout=30.0)
        for seconds in (30.0, TERM_SECONDS, LOST_SECONDS):
            self.clock.advance(seconds)
        self.assertEqual(self.error(running), "it took longer than 30 s")
        self.spawner.process.says(1, b"still here\n")
        self.spawner.process.exits(None, 9)
        self.assertEqual(self.lines, [])

    def test_lingers(self) -> None:
        """A process that has answered and does not end is ended, and its response stands, also past the deadline."""
        running = self.start(timeout=TERM_SECONDS)
        self.spawner.process.answers(result=7)
        self.clock.advance(TERM_SECONDS)
        self.clock.advance(TERM_SECONDS)
        self.assertEqual(self.spawner.process.signals[-1], "KILL")
        self.spawner.process.exits(None, 9)
        self.assertEqual(self.successResultOf(running), 7.0)

    def test_pipes_held(self) -> None:
        """Someone else's hold on the pipes does not keep the runner waiting."""
        running = self.start()
        self.spawner.process.answers(result=7)
        self.spawner.process.exits(pipes=False)
        self.assertNoResult(running)
        self.clock.advance(PIPES_SECONDS)
        self.assertEqual(self.successResultOf(running), 7.0)
        self.assertEqual(sorted(self.spawner.process.closed), [0, 1, 2, 3])

    def test_cancelled(self) -> None:
        """Cancelled, it is over when the process is gone; cancelled again, the process is killed at once."""
        running = self.start()
        running.cancel()
        self.assertEqual(self.spawner.process.signals, ["TERM"])
        self.assertNoResult(running)
        running.cancel()
        self.assertEqual(self.spawner.process.signals, ["TERM", "KILL"])
        self.spawner.process.exits(None, 9)
        self.failureResultOf(running, CancelledError)

    def test_progress(self) -> None:
        """Both outputs arrive as lines."""
        running = self.start()
        self.spawner.process.says(1, b"warming")
        self.spawner.process.says(2, b"INFO bench: hello\n")
        self.spawner.process.says(1, b" up\nunfinished")
        self.spawner.process.answers(result=1)
        self.spawner.process.exits()
        self.assertEqual(self.lines, ["INFO bench: hello", "warming up", "unfinished"])
        self.successResultOf(running)

    def test_listener_fails(self) -> None:
        """A listener that fails is logged, and costs nothing else."""

        def listener(line: str) -> None:
            raise RuntimeError(line)

        running = self.start(on_progress=listener)
        self.spawner.process.says(1, b"hello\n")
        self.spawner.process.answers(result=1)
        self.spawner.process.exits()
        self.assertEqual(self.successResultOf(running), 1.0)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_nonsense(self) -> None:
        """Something else on the response's descriptor, or too much, ends the process in error."""
        for said in (b"hello\n", b"[1]\n", b"[" * 5000 + b"\n", b"x" * 70_000):
            running = self.start()
            self.spawner.process.says(3, said)
            self.assertEqual(self.spawner.process.signals, ["TERM"])
            self.spawner.process.exits(None, 15)
            self.assertIn("descriptor", self.error(running))

    def test_other_group(self) -> None:
        """A child that names another's process group has only itself signalled."""
        running = self.start()
        self.spawner.process.answers(group=1)
        running.cancel()
        self.assertEqual(self.spawner.process.signals, ["TERM"])
        self.spawner.process.exits(None, 15)
        self.failureResultOf(running, CancelledError)

    def test_secrets(self) -> None:
        """The keys to the account do not reach the benchmark; what it measures by does."""
        given = {
            "VESPA_BACKEND_AUTHORIZATION": "x",
            "MASTER_TOKEN": "x",
            "VAST_API_KEY": "x",
            "VAST_ACCOUNT_KEY": "x",
            "CONTAINER_API_KEY": "x",
            "MODEL_NAME": "tiny",
            "BENCHMARK_RUNS": "2",
            "HF_TOKEN": "needed",
            "PYTHONPATH": "/mine",
        }
        kept = child_environment(given)
        self.assertEqual(kept.keys(), {"MODEL_NAME", "BENCHMARK_RUNS", "HF_TOKEN", "PYTHONPATH"})
        self.assertEqual(kept["PYTHONPATH"], "/mine")
        self.assertEqual(child_environment({"PYTHONPATH": ":/a::/b:"})["PYTHONPATH"], "/a:/b")
        self.assertEqual(child_environment({"PYTHONPATH": ":"}), {})
        self.assertEqual(given["MASTER_TOKEN"], "x")
