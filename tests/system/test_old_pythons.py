"""Laws of a start by a Python that is too old, or that lacks what Vespa needs: one sentence, for the autoscaler too."""

from __future__ import annotations

import ast
import glob
import os
import re
import subprocess
import sys

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.system.case import SystemCase
from vespa.simulator.launch import ROOT
from vespa.worker.launch import missing_packages

OLDEST = (3, 6)
READ_BY_OLD_PYTHONS = ("worker.py", "vespa/__init__.py", "vespa/worker/__init__.py", "vespa/worker/failure_report.py")


def old_pythons() -> list[str]:
    """The interpreters of this machine that are too old for Vespa, by the places where such are usually kept."""
    folders = [*os.environ.get("PATH", "").split(os.pathsep), os.path.expanduser("~/.pyenv/versions/*/bin")]
    found = [path for folder in folders for path in glob.glob(os.path.join(folder, "python3.[6-9]"))]
    return sorted(path for path in {os.path.realpath(path) for path in found} if is_old(path))


def is_old(python: str) -> bool:
    """Whether this runs, which a stand-in of a version manager may not, and is too old."""
    code = "import sys; sys.exit(sys.version_info >= (3, 10))"
    return subprocess.run([python, "-c", code], capture_output=True).returncode == 0


class SourceTests(SynchronousTestCase):
    def test_syntax(self) -> None:
        """What an old Python meets before it can say that it is too old is in a syntax that it knows."""
        for name in READ_BY_OLD_PYTHONS:
            with open(os.path.join(ROOT, name)) as file:
                source = file.read()
            ast.parse(source, feature_version=OLDEST)
            self.assertNotIn("from __future__ import annotations", source, name)  # 3.7
            for needless in ("isascii()", "removeprefix(", "collections.abc import", " | None"):
                self.assertNotIn(needless, source, name)


class PackageTests(SynchronousTestCase):
    def test_named(self) -> None:
        """Packages that are not installed are named, with the command that installs them."""
        self.assertEqual(missing_packages(), "")
        said = missing_packages(lambda name: name not in ("treq", "klein"))
        self.assertIn("lacks the packages treq, klein: run ", said)
        self.assertIn(f"-m pip install -r {ROOT}/requirements.txt", said)


class StartTests(SystemCase):
    async def told_by(self, python: str, *arguments: str, why: str) -> None:
        self.backend_url = "http://127.0.0.1:9"
        await self.deployed.start_autoscaler()
        worker = self.start([python, *arguments, "-m", "worker"], self.settings(), folder=ROOT)
        self.assertEqual(await self.until_exit(worker), 1)
        self.assertRegex(worker.text, f"^error: {why}")
        self.assertEqual(len(worker.lines), 1, worker.text)
        self.assertRegex(self.reports[-1].error_msg, why)
        self.reports.clear()

    async def test_old(self) -> None:
        """`python3 -m worker` by an old Python says in one line which is needed and which was found."""
        pythons = old_pythons()
        if not pythons:
            raise SkipTest("missing: a Python older than 3.10, in PATH or of pyenv")
        for python in pythons:
            await self.told_by(python, why=f"Vespa needs Python 3.10 or newer, and {re.escape(python)} is Python 3")

    async def test_no_packages(self) -> None:
        """By a Python without any packages it says which are missing, and how to install them."""
        await self.told_by(sys.executable, "-S", why=r"\S+ lacks the packages twisted, .*pip install -r")
