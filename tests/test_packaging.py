"""Laws of what is installed."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

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


class SourceDistributionTests(SynchronousTestCase):
    def test_whole(self) -> None:
        """A source distribution holds every file of the repository."""
        try:
            listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
        except (OSError, subprocess.CalledProcessError):
            raise SkipTest("this is no git repository, whose list of files is compared with") from None
        files = {name for name in listed.splitlines() if (ROOT / name).exists()}
        folder = Path(self.mktemp()).absolute()
        for name in files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
        code = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
        built = subprocess.run([sys.executable, "-c", code, "dist"], cwd=folder, capture_output=True, text=True)
        self.assertEqual(built.returncode, 0, built.stderr)
        (archive,) = (folder / "dist").glob("*.tar.gz")
        with tarfile.open(archive) as opened:
            packed = {name.partition("/")[2] for name in opened.getnames()}
        self.assertEqual(sorted(files - packed), [])


class ScriptTests(SynchronousTestCase):
    def test_scripts(self) -> None:
        """The scripts can be run, and bash understands them."""
        for name in (*SCRIPTS, "scripts/environment.sh"):
            subprocess.run(["bash", "-n", str(ROOT / name)], check=True)
        for name in SCRIPTS:
            self.assertTrue(os.access(ROOT / name, os.X_OK), name)
