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


class ContentTests(SynchronousTestCase):
    def test_data(self) -> None:
        """What is no module and yet needed is named, and there: Vast's root, and the mark of types."""
        config = configparser.ConfigParser()
        config.read(ROOT / "setup.cfg")
        data = config["options.package_data"]
        self.assertEqual(dict(data), {"vespa": "py.typed", "vespa.client": "vast_root.pem"})
        for package, name in data.items():
            self.assertTrue((ROOT / package.replace(".", "/") / name).exists(), name)

    def test_commands(self) -> None:
        """`vespa-proxy` is the command, and its plugin for twistd is among what is installed."""
        config = configparser.ConfigParser()
        config.read(ROOT / "setup.cfg")
        self.assertEqual(config["options.entry_points"]["console_scripts"].strip(), "vespa-proxy = vespa.cli:main")
        self.assertIn("twisted.plugins", config["options.packages.find"]["include"].split())


class ScriptTests(SynchronousTestCase):
    def test_scripts(self) -> None:
        """The scripts can be run, and bash understands them."""
        for name in (*SCRIPTS, "scripts/environment.sh"):
            subprocess.run(["bash", "-n", str(ROOT / name)], check=True)
        for name in SCRIPTS:
            self.assertTrue(os.access(ROOT / name, os.X_OK), name)
