"""The process as its parent sees it: its environment, its limits, and errors in words."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.migrating.files import SHORT, run, write, write_shape
from tests.migrating.found import benchmark_of, found_in
from vespa.migrating.messages import End
from vespa.migrating.reading import LAST_OUTPUT, ReadingError, child_environment, read_worker

NEWER = ("python3.10", "python3.11", "python3.12", "python3.13", "python3.14")


class EnvironmentTests(SynchronousTestCase):
    def test_secrets(self) -> None:
        """The values of what looks like a secret are replaced by names, and passwords within URLs too."""
        environ = {
            "HF_TOKEN": "hf_abcdef",
            "VAST_API_KEY": "0123456789",
            "OPENAI_APIKEY": "sk-1",
            "DB_PASSWORD": "hunter2",
            "AWS_SECRET_ACCESS_KEY": "x" * 40,
            "DATABASE_URL": "postgres://me:hunter2@db/x",
            "MODEL_NAME": "a/b",
            "BENCHMARK_MAX_TOKENS": "500",
            "TOKENIZERS_PARALLELISM": "false",
            "USE_AUTH": "true",
            "PATH": "/usr/bin",
            "NOTIFY_SOCKET": "/run/x",
        }
        child, hidden = child_environment(environ)
        secret = ("AWS_SECRET_ACCESS_KEY", "DATABASE_URL", "DB_PASSWORD", "HF_TOKEN", "OPENAI_APIKEY", "VAST_API_KEY")
        self.assertEqual(hidden, secret)
        self.assertEqual(child["HF_TOKEN"], "<HF_TOKEN>")
        self.assertEqual(child["DATABASE_URL"], "postgres://me:<DATABASE_URL>@db/x")
        for name in ("MODEL_NAME", "BENCHMARK_MAX_TOKENS", "TOKENIZERS_PARALLELISM", "USE_AUTH", "PATH"):
            self.assertEqual(child[name], environ[name], name)
        self.assertNotIn("NOTIFY_SOCKET", child)
        for value in ("hf_abcdef", "0123456789", "hunter2"):
            self.assertNotIn(value, str(child))

    def test_as_on_vast(self) -> None:
        """What Vast.ai sets is there, unless it is set already."""
        self.assertEqual(child_environment({})[0]["WORKER_PORT"], "3000")
        self.assertEqual(child_environment({"WORKER_PORT": "3001"})[0]["WORKER_PORT"], "3001")


class ReadingTests(SynchronousTestCase):
    slow = True

    def test_no_file(self) -> None:
        """A path that leads to no file, or to a folder."""
        for path, why in (("/no/such/worker.py", "there is no such file"), ("/", "is not a file")):
            error = self.assertRaises(ReadingError, read_worker, path, {}, sys.executable)
            self.assertIn(why, str(error))

    def test_other_python(self) -> None:
        """A Python that cannot be started, one that is none, and one that is too old."""
        path = write(self, "")
        self.assertIn("cannot be started", str(self.assertRaises(ReadingError, run, path, python="/no/python")))
        self.assertIn("ended with status", str(self.assertRaises(ReadingError, run, path, python="/bin/false")))
        for old in filter(runs, ("python3.8", "python3.9")):
            self.assertIn("too old", str(self.assertRaises(ReadingError, run, path, python=old)))

    def test_every_python(self) -> None:
        """The file runs with each Python that is here, without any package installed: this part uses none."""
        tried = 0
        for name in NEWER:
            if (
                subprocess.run([name, "--version"], check=False, capture_output=True).returncode
                if shutil.which(name)
                else 1
            ):
                continue
            tried += 1
            for shape in ("vllm", "tgi", "comfyui"):
                result = run(write_shape(self, shape), python=name)
                self.assertEqual(result.answer.end, End("served"), (name, shape, result.printed))
        if not tried:
            raise SkipTest("no other Python is here")

    def test_killed(self) -> None:
        """A process that ends without an answer, and one that does not come to an end."""
        error = self.assertRaises(ReadingError, run, write(self, "import os, signal\nos.kill(os.getpid(), 9)\n"))
        self.assertIn("was ended by signal 9", str(error))
        error = self.assertRaises(ReadingError, run, write(self, "print('bye', flush=True)\nimport os\nos._exit(4)\n"))
        self.assertIn("ended with status 4, and told nothing: bye", str(error))
        self.patch(sys.modules["vespa.migrating.reading"], "REQUESTS_SECONDS", 0.5)
        stubborn = "import re\nre.match('(a+)+$', 'a' * 64 + 'b')\n"  # nothing else runs meanwhile
        error = self.assertRaises(ReadingError, run, write(self, stubborn), seconds=1.0)
        self.assertIn("did not end within 1.5 seconds", str(error))

    def test_output(self) -> None:
        """The file may print what it wants: only the end of it is kept."""
        result = run(write(self, "import os\nfor i in range(10**5):\n    print('x' * 99)\nos.write(2, b'\\xff end')\n"))
        self.assertEqual(result.answer.end, End("finished"))
        self.assertLessEqual(len(result.printed), LAST_OUTPUT)

    def test_large_data_set(self) -> None:
        """Of a data set without bounds a bounded part is taken, and a request that is too large is said."""
        rows = "[{'a': 'x' * 10**5}] * 10**6"
        source = f"""{SHORT}
Worker(WorkerConfig(model_server_url="http://h", model_server_port=1, handlers=[
    HandlerConfig(route="/a", benchmark_config=BenchmarkConfig(dataset=%s))])).run()
"""
        benchmark = benchmark_of(found_in(run(write(self, source % rows)).answer).handlers[0])
        self.assertEqual(len(benchmark.requests), 41)
        self.assertEqual(benchmark.cut, 10**6 - 41)
        one = benchmark_of(found_in(run(write(self, source % "[{'a': 'x' * 10**7}]")).answer).handlers[0])
        self.assertIn("10000009 bytes", one.error)

    def test_nothing_left(self) -> None:
        """No temporary file is left."""
        folder = self.mktemp()
        os.mkdir(folder)
        self.patch(tempfile, "tempdir", os.path.abspath(folder))  # others may be read at the same time
        self.assertEqual(run(write(self, "")).answer.end, End("finished"))
        self.assertEqual(os.listdir(folder), [])

    def test_where_it_runs(self) -> None:
        """In its own folder, through a link too; this project's modules do not stand before the file's own."""
        path = write(self, "import os, plan\nassert plan.MINE\nassert os.getcwd() == os.path.dirname(__file__)\n")
        Path(path).with_name("plan.py").write_text("MINE = True\n")
        link = Path(self.mktemp()).absolute()
        link.symlink_to(path)
        for each in (path, str(link)):
            self.assertEqual(run(each).answer.end, End("finished"), each)


def runs(python: str) -> bool:
    """Whether there is a Python of this name; pyenv has names for those that are not chosen, too."""
    path = shutil.which(python)
    return path is not None and subprocess.run([path, "--version"], check=False, capture_output=True).returncode == 0
