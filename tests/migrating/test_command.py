"""The whole command: its options, its text, what a worker makes of it, and that it shows no secret."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.migrating.files import ENVIRONMENT, SHORT, VLLM, write, write_shape
from tests.migrating.found import answer, found, handler
from tests.migrating.test_plan import ON_VAST
from tests.processes import ProcessCase
from vespa.config import worker_reading
from vespa.config.reader import SettingsError
from vespa.migrating.command import main, read
from vespa.migrating.messages import write as write_message

FORGER = """
import os, sys

frame = sys._getframe()
while "_order" not in vars(frame.f_locals.get("self", object)):
    frame = frame.f_back
with open(frame.f_locals["self"]._order.answer, "wb") as file:
    file.write(%s)
os._exit(0)
"""
"""A file that looks for what its process was told, and answers in its place."""


class OptionTests(SynchronousTestCase):
    def test_options(self) -> None:
        """The file may stand alone; arguments for it may be repeated."""
        settings = read(["worker.py", "--argument=--port", "--argument", "1"], {})
        self.assertEqual((settings.file, settings.argument, settings.timeout), ("worker.py", ("--port", "1"), 30.0))

    def test_mistakes(self) -> None:
        """No file, a benchmark whose path is wrong or at which there is a file already, and too long an argument."""
        there = self.mktemp() + ".py"
        Path(there).write_text("")
        for argv, why in (
            ([], "name the worker's file"),
            (["w.py", "--benchmark=b.txt"], "ends in .py"),
            (["w.py", "--benchmark=a\nb.py"], "control characters"),
            (["w.py", f"--benchmark={there}"], "is there already"),
            (["w.py", "--timeout=0"], "more than 0"),
            (["w.py", "--benchmark=./w.py", "--force"], "the worker's file itself"),
            (["w.py", "--argument=" + "x" * 8193], "8192 characters"),
        ):
            self.assertIn(why, str(self.assertRaises(SettingsError, read, argv, {})), argv)
        self.assertEqual(read(["w.py", f"--benchmark={there}", "--force"], {}).benchmark, there)


class CommandCase(SynchronousTestCase):
    def run_command(self, *arguments: str, **environ: str) -> tuple[int, str, str]:
        """The exit code, the output and the errors."""
        out, errors = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", out)
        self.patch(sys, "stderr", errors)
        self.patch(os, "environ", {**ENVIRONMENT, "MODEL_NAME": "m", **environ})
        return main([*arguments, "--stand-in"]), out.getvalue(), errors.getvalue()


class CommandTests(CommandCase):
    def test_shapes(self) -> None:
        """The environment of each official shape is accepted by the worker's own reader."""
        for name, backend in (("vllm", ":18000"), ("tgi", ":5001"), ("comfyui", ":18288")):
            benchmark = os.path.abspath(self.mktemp()) + ".py"
            code, out, errors = self.run_command(write_shape(self, name), "--json", f"--benchmark={benchmark}")
            self.assertEqual((code, errors), (0, ""), name)
            document = json.loads(out)
            reading = worker_reading.read({**ON_VAST, **document["environment"]})
            self.assertEqual((reading.error, reading.warnings), (None, ()), name)
            assert reading.settings.backend_url is not None
            self.assertTrue(reading.settings.backend_url.url.endswith(backend))
            self.assertEqual(reading.settings.healthcheck_endpoint, "/health")
            self.assertEqual(reading.settings.allow_parallel, name != "comfyui")
            self.assertEqual(document["benchmark"], benchmark)
            self.assertTrue(os.path.isfile(benchmark))

    def test_text(self) -> None:
        """The text has the settings and the words, and says which package read the file."""
        code, out, _ = self.run_command(write_shape(self, "vllm"))
        self.assertEqual(code, 0)
        self.assertIn("read with a stand-in of the package", out)
        self.assertIn("\nexport VESPA_BACKEND_URL=http://127.0.0.1:18000\n", out)
        self.assertIn("\nexport VESPA_BENCHMARK=benchmarks.openai_chat:benchmark\n", out)
        self.assertIn("# - workload_calculator of /v1/completions, /v1/chat/completions: ", out)

    def test_failures(self) -> None:
        """A file that is none, does nothing official, or fails: a sentence, and nothing on the output."""
        for source, why in (
            ("print('hello')", "it makes no Worker and no WorkerConfig of the package vastai: it ended without"),
            ("import os\nos.environ['MODEL_LOG']", "it raised KeyError: 'MODEL_LOG' at line 2"),
            ("import torch.no_such", "The module torch is not installed"),
            ("\x1b[2J = 1", "it raised SyntaxError"),
            (f"{SHORT}Worker(None).run()", "its Worker has no WorkerConfig"),
            (
                f"{SHORT}Worker(WorkerConfig(handlers=[HandlerConfig('/a', handler_class=int)])).run()",
                "its configuration cannot be read, neither here nor by Vast's own worker: AttributeError",
            ),
        ):
            code, out, errors = self.run_command(write(self, source))
            self.assertEqual((code, out), (1, ""), source)
            self.assertIn(why, errors)
            self.assertNotIn("\x1b", errors)
        self.assertIn("migrate: /no/such/worker.py: there is no such file", self.run_command("/no/such/worker.py")[2])
        self.assertEqual(self.run_command()[0], 2)

    def test_forged_answers(self) -> None:
        """A file that writes the answer of its process itself gets a sentence that names what is wrong with it."""
        whole = json.loads(write_message(answer(found(handler()))))
        end = {**whole["end"], "how": "well"}
        for forged, why in (
            ("b''", "an answer that cannot be read: it is not JSON"),
            ("b'{}'", "an answer that cannot be read: end is missing"),
            ("b'[' * 10**6", "it is nested too deeply"),
            ("b'\\xff'", "it is not UTF-8"),
            (repr(json.dumps(whole)[:-5].encode()), "it is not JSON"),
            ("b' ' * (33 * 2**20)", "an answer of more than 33554432 bytes"),
            (repr(json.dumps({**whole, "end": end}).encode()), "end.how must be one of served, finished"),
            (repr(json.dumps({**whole, "\x1b[2J": 1}).encode()), '"\\u001b[2J" is not known'),
            (repr(json.dumps({**whole, "workers": "1"}).encode()), 'workers must be a whole number, not "1"'),
            (repr(json.dumps({**whole, "found": {"handlers": []}}).encode()), "found.backend_url is missing"),
        ):
            code, out, errors = self.run_command(write(self, FORGER % forged))
            self.assertEqual((code, out, errors.count("\n")), (1, "", 1), errors)
            self.assertIn(why, errors)
            self.assertNotIn("\x1b", errors)
        text = "\x1b[2J\ud800\n"
        strange = {**whole, "package": text, "package_error": text, "programs": [text], "options": {text: text}}
        strange["found"]["handlers"][0].update(route=text, path=text, healthcheck=text, parser=text)
        for options in ([], ["--json"]):
            code, out, errors = self.run_command(write(self, FORGER % repr(json.dumps(strange).encode())), *options)
            self.assertEqual((code, errors), (1, ""))
            self.assertNotIn("\x1b", out)
            out.encode("utf-8")

    def test_failed_benchmark(self) -> None:
        """A benchmark that cannot be written is a failure, even if a built-in one can be set."""
        source = VLLM.replace('os.environ["MODEL_NAME"]', 'os.environ["NO_SUCH"]')
        code, out, _ = self.run_command(write(self, source), f"--benchmark={self.mktemp()}.py")
        self.assertEqual(code, 1)
        self.assertIn("it raised KeyError: 'NO_SUCH'", " ".join(out.split("\n#   ")))
        self.assertIn("inner object", out)  # the parser was tried all the same

    def test_incomplete(self) -> None:
        """What Vespa cannot start without is said, and the exit code tells."""
        code, out, _ = self.run_command(write(self, f"{SHORT}Worker(WorkerConfig('http://h', 1)).run()\n"))
        self.assertEqual(code, 1)
        self.assertIn("# Missing: Vespa does not start without this:", out)

    def test_without_run(self) -> None:
        """A configuration that the file did not serve is shown, with the reason for doubt."""
        code, out, _ = self.run_command(write(self, f"{SHORT}c = WorkerConfig('http://h', 1)\nraise ValueError('x')\n"))
        self.assertIn("Check that this is the right configuration, because it raised ValueError: x at line 4", out)

    def test_secrets(self) -> None:
        """Nothing that the command prints or writes has the value of a secret, whatever the file does with it."""
        source = f"""{SHORT}
import os
token = os.environ["HF_TOKEN"]
print(token)
Worker(WorkerConfig("http://h", 1, model_healthcheck_url="/h?key=" + token, model_log_file=token, handlers=[
    HandlerConfig(route="/" + token, benchmark_config=BenchmarkConfig(generator=lambda: {{"key": token}}))
])).run(x=token)
"""
        benchmark = self.mktemp() + ".py"
        for options in (["--json"], ["--force"]):
            code, out, errors = self.run_command(
                write(self, source), f"--benchmark={benchmark}", *options, HF_TOKEN="hf_verysecret"
            )
            self.assertNotIn("hf_verysecret", out + errors + Path(benchmark).read_text())
            self.assertIn("HF_TOKEN", out)
        raised = self.run_command(write(self, source + "raise ValueError(token)"), HF_TOKEN="hf_verysecret")
        self.assertNotIn("hf_verysecret", "".join(raised[1:]))

    def test_written_once(self) -> None:
        """A benchmark that is there stays as it is without --force; where none can be made, none is written."""
        benchmark = self.mktemp() + ".py"
        Path(benchmark).write_text("mine\n")
        self.assertEqual(self.run_command(write_shape(self, "tgi"), f"--benchmark={benchmark}")[0], 2)
        self.assertEqual(Path(benchmark).read_text(), "mine\n")
        self.assertEqual(self.run_command(write_shape(self, "tgi"), f"--benchmark={benchmark}", "--force")[0], 0)
        self.assertIn("get_test_request", Path(benchmark).read_text())
        other = self.mktemp() + ".py"
        source = f"{SHORT}Worker(WorkerConfig('http://h', 1)).run()\n"
        code, out, _ = self.run_command(write(self, source), f"--benchmark={other}")
        self.assertEqual(code, 1)
        self.assertIn("No benchmark was written", out)
        self.assertFalse(os.path.exists(other))
        mixed = "BenchmarkConfig(dataset=[{'n': 1}, {'n': 2}])"
        source = f"{SHORT}h = HandlerConfig('/a', workload_calculator=lambda r: r['n'], benchmark_config={mixed})\n"
        source += "Worker(WorkerConfig('http://h', 1, handlers=[h])).run()\n"
        out = self.run_command(write(self, source), f"--benchmark={other}")[1]
        self.assertIn("has 2 requests of the file's data set", out)
        self.assertIn("differ in work", out)
        self.assertIn("No such file", self.run_command(write_shape(self, "tgi"), "--benchmark=/no/such/folder/b.py")[2])


SERVED = f"""{SHORT}
import os

config = WorkerConfig(
    model_server_url="http://127.0.0.1", model_server_port=int(os.environ["MODEL_SERVER_PORT"]),
    model_healthcheck_url="/health", max_sessions=5,
    handlers=[HandlerConfig(
        route="/v1/completions", allow_parallel_requests=True, max_queue_time=600.0,
        workload_calculator=lambda request: request["max_tokens"],
        benchmark_config=BenchmarkConfig(dataset=[{{"prompt": "a b", "max_tokens": 2}}], runs=2, concurrency=3),
    )],
)
Worker(config).run()
"""


class WholeTests(ProcessCase):
    async def test_switches_over(self) -> None:
        """A worker in the environment that a shell has sourced measures by the file's requests, and becomes ready."""
        deployed = self.deployment()
        await deployed.start_backend()
        await deployed.start_autoscaler()
        folder = self.temporary_folder()
        Path(folder, "worker.py").write_text(SERVED)
        port = deployed.backend_url.rpartition(":")[2]
        command = [sys.executable, "-m", "vespa.cli", "migrate", "worker.py", "--benchmark=bench.py", "--stand-in"]
        child = self.start(command, {"MODEL_SERVER_PORT": port}, folder=folder)
        self.assertEqual(await self.until_exit(child), 0, child.text)
        Path(folder, "vespa.env").write_text(child.text)
        environment = dict(
            pair.split("=", 1)
            for pair in subprocess.run(
                ["sh", "-euc", ". ./vespa.env; env -0"], cwd=folder, check=True, capture_output=True, text=True
            ).stdout.split("\0")
            if pair.startswith("VESPA_")
        )
        self.assertEqual(environment["VESPA_BACKEND_URL"], deployed.backend_url)
        self.assertEqual(environment["VESPA_BENCHMARK"], os.path.join(os.path.realpath(folder), "bench.py:benchmark"))
        worker = deployed.start_worker(0, tls=False, **environment)
        await self.until_line(worker, r"run 2 of 2: 3 of 3 requests, 6 units")
        await deployed.until_ready()
        self.assert_clean_log(worker)
