"""The wall's own tests over the newest Twisted and pyOpenSSL that there are: what breaks with them shows here first."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.running.progress import counts

ROOT = Path(__file__).parent.parent.parent

PROJECTS = ("Twisted", "pyOpenSSL")

WALL = (
    "tests.transport.test_private_names",
    "tests.transport.test_choice",
    "tests.transport.test_sockets",
    "tests.transport.test_turn_end",
    "tests.transport.test_connect",
    "tests.transport.test_listen",
    "tests.transport.test_resets",
    "tests.transport.test_splice",
    "tests.transport.test_tls_connect",
    "tests.transport.test_tls_server",
    "tests.transport.test_tls_stock",
)

INSTALL_SECONDS = 60
RUN_SECONDS = 180

VERSIONS = """
import sys, OpenSSL, twisted
from importlib.metadata import version
print(twisted.__file__.startswith(sys.argv[1]), OpenSSL.__file__.startswith(sys.argv[1]))
print(version("Twisted"), version("pyOpenSSL"), flush=True)
from tests.run import main
sys.exit(main(["--jobs=1", *sys.argv[2:]]))
"""


def install(folder: str) -> None:
    """Put the newest releases there, whatever Vespa's own bounds are. Raises SkipTest where that cannot be."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["--timeout", "10", "--retries", "0", "--no-deps", "--target", folder, *PROJECTS]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS)
    except subprocess.TimeoutExpired:
        raise SkipTest(f"pip did not install {' and '.join(PROJECTS)} in {INSTALL_SECONDS} s") from None
    if done.returncode:
        raise SkipTest(f"pip installs nothing here: {(done.stderr.strip().splitlines() or ['no reason given'])[-1]}")


def run(folder: str, environ: Mapping[str, str]) -> str:
    """What the wall's tests say over the projects in this folder."""
    path = os.pathsep.join(filter(None, (folder, str(ROOT), environ.get("PYTHONPATH"))))
    try:
        done = subprocess.run(
            [sys.executable, "-c", VERSIONS, folder, *WALL],
            env={**environ, "PYTHONPATH": path},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=RUN_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        return f"{error.stdout!r}\nnot done in {RUN_SECONDS} s"
    return done.stdout


class Newest(SynchronousTestCase):
    """One download, and one run."""

    def test_wall(self) -> None:
        """The newest releases have every private name, and the transports that use them keep their laws."""
        if sys.platform != "linux":
            raise SkipTest("the fast transports are Linux's")
        folder = tempfile.mkdtemp(prefix="vespa-newest-")
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        install(folder)
        text = run(folder, os.environ)
        lines = text.splitlines()
        self.assertIn("True True", lines, text)  # not those that are installed
        passed, failed, _ = counts(text)
        self.assertEqual(failed, 0, text)
        self.assertGreater(passed, 200, text)
