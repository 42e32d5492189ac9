"""Runs of workers' files in processes, mostly files that misbehave."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.migrating.files import OLD_TGI, OLD_TGI_DATA, SHORT, run, write, write_shape
from tests.migrating.found import benchmark_of, found_in
from vespa.migrating.child import main_thread_frames
from vespa.migrating.messages import End

MADE = 'WorkerConfig(model_server_url="http://h", model_server_port=1, handlers=[HandlerConfig(route="/a")])'


class ShapeTests(SynchronousTestCase):
    """PyWorkers' shapes, read with the stand-in."""

    def test_vllm(self) -> None:
        """A generator is called as often as the official benchmark calls it, and each request has its work."""
        answer = run(write_shape(self, "vllm")).answer
        self.assertEqual((answer.end.how, answer.package, answer.workers), ("served", "", 1))
        found = found_in(answer)
        self.assertEqual(found.backend_url, "http://127.0.0.1:18000")
        self.assertEqual(found.max_sessions, 10)
        self.assertEqual(found.patterns.on_load, ["Application startup complete."])
        first, second = found.handlers
        self.assertEqual((first.parallel, first.max_queue_time), (True, 600.0))
        self.assertEqual((first.parser, first.parser_does, first.calculator), ("unwrap", "input", "tokens"))
        self.assertEqual(len(benchmark_of(first).requests), 31)
        self.assertIn('"model": "m"', benchmark_of(first).requests[0][0])
        self.assertEqual({work for _, work in benchmark_of(first).requests}, {500.0})
        self.assertIsNone(second.benchmark)
        self.assertEqual(second.parser_does, "input")

    def test_tgi(self) -> None:
        """A configuration made in a function behind `__main__`; the rows of a data set in their order."""
        found = found_in(run(write_shape(self, "tgi")).answer)
        benchmark = benchmark_of(found.handlers[0])
        self.assertEqual((benchmark.source, benchmark.runs, benchmark.concurrency), ("data set", 2, 4))
        self.assertEqual([work for _, work in benchmark.requests], [256.0] * 4)
        self.assertIn("Prompt 3", benchmark.requests[3][0])

    def test_comfyui(self) -> None:
        """A file beside the worker's is read; equal requests are kept once; without a calculator the work is 100."""
        path = write_shape(self, "comfyui")
        found = found_in(run(path).answer)
        handler = found.handlers[0]
        self.assertEqual((handler.parallel, benchmark_of(handler).runs), (False, 8))
        [(text, work)] = benchmark_of(handler).requests
        self.assertIn("KSampler", text)
        self.assertEqual((work, benchmark_of(handler).cut), (100.0, 0))
        self.assertEqual(sorted(os.listdir(os.path.dirname(path))), ["misc", "worker.py"])  # no compiled modules

    def test_before_the_package(self) -> None:
        """A PyWorker with a Backend, relative imports and the repository's own `lib`."""
        path = write(self, OLD_TGI, "repo/workers/tgi/server.py")
        Path(path).with_name("data_types.py").write_text(OLD_TGI_DATA)
        answer = run(path).answer
        self.assertEqual(answer.end, End("served"))
        found = found_in(answer)
        self.assertEqual([each.route for each in found.handlers], ["/generate", "/generate_stream"])
        self.assertEqual(found.healthcheck_url, "http://0.0.0.0:5001/health")
        self.assertEqual(found.patterns.on_info, ["Download"])
        first = found.handlers[0]
        self.assertEqual((first.parallel, first.max_queue_time, benchmark_of(first).runs), (True, 10.0, 3))
        self.assertEqual(benchmark_of(first).requests[0][1], 256.0)

    def test_from_the_root_of_a_repository(self) -> None:
        """Modules are found from the repository's root too, where the official script starts workers."""
        path = write(self, "from workers.openai.core import run\nrun()\n", "repo/workers/vllm/worker.py")
        core = Path(path).parents[1] / "openai" / "core.py"
        core.parent.mkdir()
        core.write_text(f"{SHORT}\ndef run():\n    Worker({MADE}).run()\n")
        self.assertEqual(found_in(run(path).answer).handlers[0].route, "/a")


class EndCase(SynchronousTestCase):
    def end(self, source: str | bytes, **options: Any) -> End:
        end: End = self.answer(source, **options).end
        return end

    def answer(self, source: str | bytes, **options: Any) -> Any:
        return run(write(self, source), **options).answer


class EndTests(EndCase):
    """How a run can end, and what is known then."""

    def test_ways_to_serve(self) -> None:
        """However `run` is called: the server does not start, and what comes after it is not run."""
        for last in (
            f"Worker({MADE}).run()\nraise ValueError",
            f"import asyncio\nasync def main():\n    await Worker({MADE}).run_async()\nasyncio.run(main())\n1 / 0",
            f"import threading\nthreading.Thread(target=Worker({MADE}).run).start()",
            f"try:\n    Worker({MADE}).run(host='::1')\nexcept BaseException:\n    pass\n1 / 0",
            f"class Mine(Worker):\n    pass\nMine(config={MADE}).run()",
            f"print('x' * 10**7)\nWorker({MADE}).run()",
            f"import os, sys\nos.close(1)\nsys.stderr.close()\nWorker({MADE}).run()",
            f"import os\nif os.fork():\n    os.wait()\nWorker({MADE}).run()",
        ):
            answer = self.answer(SHORT + last)
            self.assertEqual(answer.end, End("served"), last)
            self.assertEqual(answer.found.handlers[0].route, "/a", last)
        self.assertEqual(self.answer(f"{SHORT}Worker({MADE}).run(host='::1')").options, {"host": "'::1'"})

    def test_raised(self) -> None:
        """The type, the message and the innermost line of the file itself."""
        end = self.end("import json\n\ndef f(text):\n    return json.loads(text)\n\nf('{')\n")
        self.assertEqual((end.how, end.type, end.line), ("raised", "JSONDecodeError", 4))
        self.assertEqual(end.source, "return json.loads(text)")
        self.assertEqual(self.end("x = (\n").line, 1)
        self.assertEqual(self.end("import no_such_module_at_all\n").module, "no_such_module_at_all")
        self.assertEqual(self.end("raise KeyboardInterrupt\n").type, "KeyboardInterrupt")
        self.assertEqual(self.end("def f():\n    f()\nf()\n").type, "RecursionError")
        self.assertEqual(self.end("input()\n").type, "EOFError")

    def test_not_text(self) -> None:
        """A file in another encoding says so, unless it names it."""
        self.assertEqual(self.end(b"x = '\xe9'\n").type, "SyntaxError")
        self.assertEqual(self.end(b"# coding: latin-1\nx = '\xe9'\n").how, "finished")
        self.assertIn(self.end(b"x = 1\0\n").type, ("SyntaxError", "ValueError"))

    def test_exited(self) -> None:
        """sys.exit and argparse, which prints the reason."""
        self.assertEqual(self.end("import sys\nsys.exit(3)\n").message, "3")
        source = "import argparse\np = argparse.ArgumentParser()\np.add_argument('--port', required=True)\n"
        result = run(write(self, source + "p.parse_args()\n"))
        self.assertEqual((result.answer.end.how, result.answer.end.line), ("exited", 4))
        self.assertIn("--port", result.printed)
        self.assertEqual(self.end(source + "p.parse_args()\n", arguments=("--port", "1")).how, "finished")

    def test_nothing_official(self) -> None:
        """A file that makes nothing, one whose functions are not called, and one that makes a configuration only."""
        for source in ("print('hello')\n", f"{SHORT}def main():\n    Worker({MADE}).run()\n", ""):
            answer = self.answer(source)
            self.assertEqual((answer.end, answer.found), (End("finished"), None))
        self.assertEqual(self.answer(f"{SHORT}config = {MADE}\n").found.backend_url, "http://h:1")

    def test_other_fields_and_names(self) -> None:
        """Fields and classes that the stand-in does not have: fields are left out, classes only fail when used."""
        source = f"{SHORT}from vastai import Serverless\nimport vastai\nvastai.logger\n"
        answer = self.answer(f"{source}Worker(WorkerConfig(model_server_url='http://h', readiness='logs')).run()\n")
        self.assertEqual(answer.unknown, ["WorkerConfig.readiness"])
        self.assertIn("not in the stand-in", self.end(f"{source}Serverless()\n").message)

    def test_signature(self) -> None:
        """Files look the official fields up before they set those of later releases."""
        source = f"{SHORT}import inspect\nassert 'readiness' not in inspect.signature(WorkerConfig).parameters\n"
        self.assertEqual(self.end(f"{source}assert 'handlers' in inspect.signature(WorkerConfig).parameters\n"),
                         End("finished"))  # fmt: skip


class LateTests(EndCase):
    """Runs that wait for their time limit."""

    slow = True

    def test_late(self) -> None:
        """A loop without an end: the line at which it was, and what was made before."""
        end = self.end("x = 1\nwhile True:\n    pass\n", seconds=3.0)
        self.assertEqual((end.how, end.line in (2, 3)), ("late", True))
        answer = self.answer(f"{SHORT}w = Worker({MADE})\nimport time\ntime.sleep(600)\n", seconds=3.0)
        self.assertEqual((answer.end.how, answer.end.source), ("late", "time.sleep(600)"))
        self.assertEqual(answer.workers, 1)

    def test_benchmark_that_hangs(self) -> None:
        """The rest is known, and the benchmark has an error."""
        source = f"""{SHORT}
import time
Worker(WorkerConfig(model_server_url="http://h", model_server_port=1, handlers=[
    HandlerConfig(route="/a", benchmark_config=BenchmarkConfig(generator=lambda: time.sleep(600)))])).run()
"""
        self.patch(sys.modules["vespa.migrating.reading"], "REQUESTS_SECONDS", 0.5)
        found = self.answer(source, seconds=3.0).found
        self.assertEqual(found.backend_url, "http://h:1")
        self.assertIn("time limit", found.handlers[0].benchmark.error)


class FrameTests(SynchronousTestCase):
    def test_main_thread(self) -> None:
        """The main thread's frames are taken from the text of all threads, the outermost first."""
        stacks = (
            "Current thread 0x00000000000000aa (most recent call first):\n"
            '  File "/a/clock.py", line 1 in late\n\n'
            "Thread 0x00000000000000bb (most recent call first):\n"
            '  File "/a/in "quotes".py", line 3 in f\n'
            '  File "/a/worker.py", line 9 in <module>\n'
        )
        self.assertEqual(main_thread_frames(stacks, 0xBB), [("/a/worker.py", 9), ('/a/in "quotes".py', 3)])
        self.assertEqual(main_thread_frames(stacks, 0xCC), [])
