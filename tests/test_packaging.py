"""Laws of what is installed."""

from __future__ import annotations

import configparser
import os
import subprocess
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parent.parent
SCRIPTS = ("start_server.sh", "run_tests.sh", ".ci/run")


class RequirementTests(SynchronousTestCase):
    def test_same(self) -> None:
        """requirements.txt, which Vast.ai's templates install, asks for what setup.cfg does."""
        config = configparser.ConfigParser()
        config.read(ROOT / "setup.cfg")
        lines = (ROOT / "requirements.txt").read_text().splitlines()
        self.assertEqual(
            [line for line in lines if line and not line.startswith("#")],
            config["options"]["install_requires"].split(),
        )


class ScriptTests(SynchronousTestCase):
    def test_scripts(self) -> None:
        """The scripts can be run, and bash understands them."""
        for name in (*SCRIPTS, "scripts/environment.sh"):
            subprocess.run(["bash", "-n", str(ROOT / name)], check=True)
        for name in SCRIPTS:
            self.assertTrue(os.access(ROOT / name, os.X_OK), name)
