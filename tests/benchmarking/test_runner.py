"""The benchmark's runner, with a process of the test's own making and a clock that only the test moves."""

from __future__ import annotations

import json
import sys

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProcessTransport, IReactorProcess
from zope.interface.verify import verifyObject

from tests.benchmarking.fake_process import FakeSpawner, RunnerCase
from vespa.benchmarking import isolated
from vespa.benchmarking.process import BenchmarkError
from vespa.benchmarking.runner import Runner, child_environment


class RunTests(RunnerCase):
    def test_fakes(self) -> None:
        """The fakes provide what they stand for."""
        running = self.start()
        verifyObject(IReactorProcess, self.spawner)
        verifyObject(IProcessTransport, self.spawner.process)
        self.spawner.process.exits(1)
        self.error(running)

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

    def test_wrong_result(self) -> None:
        """A result that is no throughput is an error, whatever the child thought of it."""
        for result in (float("nan"), float("inf"), 0, -1.5, True, "1", None, [1.0], 10**400):
            running = self.start()
            self.spawner.process.answers(result=result)
            self.spawner.process.exits()
            self.assertIn("result is wrong", self.error(running))

    def test_secrets(self) -> None:
        """Keys and the way to the service manager do not reach the benchmark; what it measures by does."""
        given = {
            "VESPA_BACKEND_AUTHORIZATION": "x",
            "VESPA_ADMIN_TOKEN": "x",
            "NOTIFY_SOCKET": "/run/notify",
            "WATCHDOG_USEC": "1000000",
            "WATCHDOG_PID": "7",
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
