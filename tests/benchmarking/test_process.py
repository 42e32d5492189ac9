"""The benchmark's process as the worker sees it: a fake one, and a clock that only the test moves."""

from __future__ import annotations

from twisted.internet.defer import CancelledError
from twisted.internet.error import ProcessDone
from twisted.python.failure import Failure

from tests.benchmarking.fake_process import RunnerCase
from vespa.benchmarking.contract import Level
from vespa.benchmarking.process import LOST_SECONDS, PIPES_SECONDS, TERM_SECONDS
from vespa.benchmarking.runner import TookTooLong


class ProcessTests(RunnerCase):
    def test_result(self) -> None:
        """The result is given once the process is gone, and not before."""
        running = self.start()
        self.spawner.process.answers(result=123.5)
        self.assertNoResult(running)
        self.spawner.process.exits()
        self.assertEqual(self.successResultOf(running), 123.5)
        self.assertEqual(self.spawner.process.signals, [])
        self.assertEqual(sorted(self.spawner.process.closed), [0, 1, 2, 3])

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

    def test_error(self) -> None:
        """The child's message is the error."""
        running = self.start()
        self.spawner.process.answers(error="RuntimeError: boom")
        self.spawner.process.exits()
        self.assertEqual(self.error(running), "RuntimeError: boom")

    def test_first_response(self) -> None:
        """Only the first response counts."""
        running = self.start()
        self.spawner.process.says(3, b'{"result": 1.0}\n{"result": 2.0}\n{"error": "late"}\n')
        self.spawner.process.exits(1)
        self.assertEqual(self.successResultOf(running), 1.0)

    def test_reports(self) -> None:
        """What the benchmark reports of its levels and its progress is passed on, and is no response."""
        running = self.start()
        process = self.spawner.process
        process.answers(progress=0.5)
        process.answers(level={"concurrency": 4, "throughput": 160.0})
        process.answers(progress="x")
        self.assertEqual((self.shares, self.levels), ([0.5], [Level(4, 160.0)]))
        process.answers(result=2.0)
        process.answers(level={"concurrency": 8, "throughput": 1.0})
        process.exits()
        self.assertEqual(self.successResultOf(running), 2.0)

    def test_wrong_report(self) -> None:
        """A report that is none ends the process, like anything else that it writes there."""
        running = self.start()
        self.spawner.process.answers(level={"concurrency": "many"})
        self.assertEqual(self.spawner.process.signals, ["TERM"])
        self.spawner.process.exits(None, 15)
        self.assertIn("reserved for the result", self.error(running))

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
