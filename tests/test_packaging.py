"""Laws of what is installed."""

from __future__ import annotations

import configparser
import importlib.metadata
import io
import itertools
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from twisted.trial.unittest import SkipTest, SynchronousTestCase

import vespa
from tests.distributions import build_sdist, tracked_files
from vespa import NEWEST_RELEASE

ROOT = Path(__file__).parent.parent
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
SCRIPTS = ("start_server.sh", "run_tests.sh", ".ci/run")


WORKER = (
    "vespa.tap",
    "vespa.client_tap",
    "vespa.cli",
    "vespa.worker.launch",
    "vespa.worker.service",
    "vespa.benchmarking.child",
    "vespa.checking.command",
    "vespa.checking.benchmark_command",
)
"""The modules with which those processes begin that run in a worker's installation."""


def listed(text: str) -> list[str]:
    """The requirements in a list of them, one a line, without comments and options."""
    return [line for line in text.splitlines() if line and line[0] not in "#-"]


class RequirementTests(SynchronousTestCase):
    def setUp(self) -> None:
        config = configparser.ConfigParser()
        config.read(ROOT / "setup.cfg")
        self.all = listed(config["options"]["install_requires"])
        self.extras = {name: listed(text) for name, text in config["options.extras_require"].items()}
        self.worker = listed((ROOT / "requirements.txt").read_text())

    def test_worker(self) -> None:
        """requirements.txt, which Vast.ai's templates install, is a part of what setup.cfg requires, in its order."""
        self.assertEqual(self.worker, [line for line in self.all if line in self.worker])

    def test_constraints(self) -> None:
        """constraints.txt has one exact version, that setup.cfg allows, of each of our dependencies on each Python."""
        text = (ROOT / "constraints.txt").read_text()
        pins = [Requirement(line) for line in listed(text)]
        self.assertTrue(all(re.fullmatch(r"==[^*]+", str(pin.specifier)) for pin in pins))
        wanted = [Requirement(line) for line in self.all + [line for lines in self.extras.values() for line in lines]]
        for requirement, python in itertools.product(wanted, PYTHONS):
            on = {"python_version": python, "python_full_version": f"{python}.0"}
            if requirement.marker and not requirement.marker.evaluate(on):
                continue
            found = [
                str(pin.specifier).removeprefix("==")
                for pin in pins
                if canonicalize_name(pin.name) == canonicalize_name(requirement.name)
                and (pin.marker is None or pin.marker.evaluate(on))
            ]
            allowed = len(found) == 1 and requirement.specifier.contains(found[0])
            self.assertTrue(
                allowed, f"{requirement} on Python {python}: {found}; ./scripts/constraints.sh writes them anew"
            )

    def test_documented(self) -> None:
        """docs/dependencies.md has a row for each, or names it in one."""
        rows = [
            line.split("|")[1] for line in (ROOT / "docs/dependencies.md").read_text().splitlines() if line[:1] == "|"
        ]
        named = {canonicalize_name(name.split("[")[0].strip()) for row in rows for name in row.split(",")}
        wanted = [
            Requirement(line).name for line in self.all + [line for lines in self.extras.values() for line in lines]
        ]
        self.assertEqual([name for name in wanted if canonicalize_name(name) not in named], [])

    def test_constrained(self) -> None:
        """Vast.ai's templates, which know nothing but requirements.txt, install these versions."""
        self.assertIn("-c constraints.txt", (ROOT / "requirements.txt").read_text().splitlines())

    def run_without(self, *modules: str, code: str) -> subprocess.CompletedProcess[str]:
        """Run code in a process of its own in which some modules cannot be imported."""
        code = f"import sys\nsys.modules.update(dict.fromkeys({modules!r}))\n{code}"
        return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)

    def left_out(self) -> list[str]:
        """The modules of the packages that setup.cfg requires and requirements.txt leaves out."""
        left = [Requirement(line).name for line in self.all if line not in self.worker]
        files = [file for name in left for file in importlib.metadata.files(name) or () if file.suffix == ".py"]
        return sorted({file.parts[0] for file in files})

    def test_imports(self) -> None:
        """A worker imports nothing of what requirements.txt leaves out."""
        self.assertIn("rich", self.left_out())
        done = self.run_without(*self.left_out(), code=f"import {', '.join(WORKER)}")
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_other_commands(self) -> None:
        """A command that needs more than a worker has says which package it lacks, and what to do."""
        for module in self.left_out():
            code = f"import vespa.cli; vespa.cli.COMMANDS['demo'] = lambda _: __import__({module!r})"
            done = self.run_without(*self.left_out(), code=f"{code}; sys.exit(vespa.cli.main(['demo']))")
            self.assertEqual(done.returncode, 1, done.stderr)
            (line,) = done.stderr.splitlines()
            self.assertRegex(line, f"^error: .* needs the package {module}, .* -m pip install --editable {ROOT}$")

    def test_missing_module(self) -> None:
        """Where a module of Vespa itself is missing that is a bug, of which the whole traceback is wanted."""
        done = self.run_without("vespa.simulator.demo", code="import vespa.cli; vespa.cli.main(['demo'])")
        self.assertIn("Traceback", done.stderr)


class ContentTests(SynchronousTestCase):
    def test_data(self) -> None:
        """What is no module and yet needed is named: Vast's root, the mark of types, templates."""
        config = configparser.ConfigParser()
        config.read(ROOT / "setup.cfg")
        named = {
            file.relative_to(ROOT)
            for package, patterns in config["options.package_data"].items()
            for pattern in patterns.split()
            for file in ROOT.joinpath(*package.split(".")).glob(pattern)
        }
        there = {file.relative_to(ROOT) for folder in ("vespa", "benchmarks") for file in (ROOT / folder).rglob("*.*")}
        self.assertEqual(named, {file for file in there if file.suffix not in {".py", ".pyc"}})
        self.assertIn(Path("vespa/client/vast_root.pem"), named)

    def test_commands(self) -> None:
        """`vespa-proxy` is the command, and its plugin for twistd is among what is installed."""
        config = configparser.ConfigParser()
        config.read(ROOT / "setup.cfg")
        self.assertEqual(config["options.entry_points"]["console_scripts"].strip(), "vespa-proxy = vespa.cli:main")
        self.assertIn("twisted.plugins", config["options.packages.find"]["include"].split())


class VersionTests(SynchronousTestCase):
    """The version comes from git's tags, and there is a sensible one where there are none."""

    def repository(self) -> Path:
        """A git repository of one commit, with all that decides on the version."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        for name in ("pyproject.toml", "setup.cfg", ".gitattributes"):
            shutil.copy2(ROOT / name, folder / name)
        if shutil.which("git") is None:
            raise SkipTest("there is no git here")
        self.git(folder, "init", "--quiet")
        self.git(folder, "add", ".")
        self.commit(folder)
        return folder

    def git(self, folder: Path, *arguments: str) -> bytes:
        named = ["-c", "user.name=Test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false"]
        return subprocess.run(["git", *named, *arguments], cwd=folder, check=True, capture_output=True).stdout

    def commit(self, folder: Path) -> None:
        self.git(folder, "commit", "--quiet", "--allow-empty", "--message", "A commit")

    def archive(self, repository: Path) -> Path:
        """What `git archive` makes of the newest commit, as GitHub's archives are made, unpacked."""
        folder = Path(self.mktemp()).absolute()
        with tarfile.open(fileobj=io.BytesIO(self.git(repository, "archive", "HEAD"))) as opened:
            opened.extractall(folder)
        return folder

    def version(self, folder: Path) -> str:
        run = [sys.executable, "-m", "versioningit", str(folder)]
        return subprocess.run(run, check=True, capture_output=True, text=True).stdout.strip()

    def test_tags(self) -> None:
        """At a tag it is the tag's; later the commits since then are counted; other tags count for nothing."""
        folder = self.repository()
        self.git(folder, "tag", "v2.3.4")
        self.assertEqual(self.version(folder), "2.3.4")
        self.commit(folder)
        self.git(folder, "tag", "nightly")
        self.assertRegex(self.version(folder), r"^2\.3\.4\.post1\+g[0-9a-f]{7,}$")
        self.assertRegex(self.version(self.archive(folder)), r"^2\.3\.4\.post1\+g[0-9a-f]{7,}$")
        self.git(folder, "tag", "v2.4.0")
        self.assertEqual(self.version(self.archive(folder)), "2.4.0")

    def test_no_tags(self) -> None:
        """Without a tag it is later than the newest release; without git as well it says that it is unknown."""
        folder = self.repository()
        self.commit(folder)
        self.assertRegex(self.version(folder), rf"^{NEWEST_RELEASE}\.post1\+g[0-9a-f]{{7,}}$")
        archive = self.archive(folder)
        self.assertEqual(self.version(archive), f"{NEWEST_RELEASE}+unknown")
        shutil.rmtree(folder / ".git")
        self.assertEqual(self.version(folder), f"{NEWEST_RELEASE}+unknown")

    def test_checkout(self) -> None:
        """A checkout of which nothing is installed has a version too."""
        folder = Path(self.mktemp()).absolute()
        (folder / "vespa").mkdir(parents=True)
        shutil.copy2(ROOT / "vespa" / "__init__.py", folder / "vespa")
        code = "import sys; sys.path.insert(0, sys.argv[1]); import vespa; print(vespa.__version__)"
        run = [sys.executable, "-I", "-S", "-c", code, str(folder)]
        printed = subprocess.run(run, check=True, capture_output=True, text=True).stdout.strip()
        self.assertEqual(printed, f"{NEWEST_RELEASE}+checkout")

    def test_installed(self) -> None:
        """Where it is installed, the program tells the version that pip does."""
        self.assertEqual(vespa.__version__, importlib.metadata.version("vespa-proxy"))
        with self.assertRaises(AttributeError):
            _ = vespa.nothing_of_the_kind

    def test_newest_release(self) -> None:
        """The newest release is the first in the changelog, and the one that counts where there is no tag."""
        releases = re.findall(r"^## \[?(\d+\.\d+\.\d+)\]?", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
        self.assertEqual(releases[0], NEWEST_RELEASE)
        settings = (ROOT / "pyproject.toml").read_text()
        self.assertIn(f'default-tag = "v{NEWEST_RELEASE}"', settings)
        self.assertIn(f'default-version = "{NEWEST_RELEASE}+unknown"', settings)


class SourceDistributionTests(SynchronousTestCase):
    def test_whole(self) -> None:
        """A source distribution holds every file of the repository."""
        folder = Path(self.mktemp()).absolute()
        with tarfile.open(build_sdist(folder)) as opened:
            packed = {name.partition("/")[2] for name in opened.getnames()}
        files = set(tracked_files())
        self.assertEqual(sorted(files - packed), [])


class ScriptTests(SynchronousTestCase):
    def test_scripts(self) -> None:
        """The scripts can be run, and bash understands them."""
        for name in (*SCRIPTS, "scripts/environment.sh"):
            subprocess.run(["bash", "-n", str(ROOT / name)], check=True)
        for name in SCRIPTS:
            self.assertTrue(os.access(ROOT / name, os.X_OK), name)
