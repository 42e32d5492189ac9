"""The project's distributions, built for tests that look into them or install them."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

from twisted.trial.unittest import SkipTest

ROOT = Path(__file__).parent.parent


def tracked_files() -> list[str]:
    """The repository's files as git knows them, by their paths. Raises SkipTest where this is no repository."""
    try:
        listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        raise SkipTest("this is no git repository, whose list of files is needed") from None
    return [name for name in listed.splitlines() if (ROOT / name).exists()]


def build_sdist(folder: Path) -> Path:
    """Build a source distribution in an empty folder, from a copy of the tracked files, so that none is left behind."""
    for name in tracked_files():
        (folder / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / "copy" / name)
    return _build("build_sdist", folder / "copy", folder / "dist")


def unpack(sdist: Path, folder: Path) -> Path:
    """Unpack a source distribution; return the folder in it."""
    with tarfile.open(sdist) as opened:
        opened.extractall(folder)
    (unpacked,) = folder.iterdir()
    return unpacked


def build_wheel(source: Path, folder: Path) -> Path:
    """Build a wheel in a folder, from an unpacked source distribution."""
    return _build("build_wheel", source, folder)


def _build(hook: str, source: Path, folder: Path) -> Path:
    # In the environment of the tests, which has what the build needs: no index is asked.
    code = "import sys; from setuptools import build_meta; getattr(build_meta, sys.argv[1])(sys.argv[2])"
    run([sys.executable, "-c", code, hook, str(folder)], source)
    (built,) = folder.iterdir()
    return built


def run(argv: Sequence[str], folder: Path) -> str:
    """Run a program to its end and return what it prints. Raises AssertionError with its output where it fails."""
    done = subprocess.run(argv, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise AssertionError(f"{' '.join(argv)} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout
