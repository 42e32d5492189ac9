"""Prometheus' own programs, for tests: what they say of metrics, rules and configurations."""

from __future__ import annotations

import subprocess
from shutil import which

from twisted.trial.unittest import SkipTest

INSTALL = "apt-get install prometheus"


def program(name: str) -> str:
    """The path of `promtool` or `prometheus`. Raises SkipTest, naming the command that installs it."""
    path = which(name)
    if path is None:
        raise SkipTest(f"missing: {name} ({INSTALL})")
    return path


def promtool(*arguments: str, said: bytes = b"") -> str:
    """Run promtool with this on its standard input. Returns all that it says; raises AssertionError if it fails."""
    done = subprocess.run(
        [program("promtool"), *arguments], input=said, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60
    )
    text = done.stdout.decode("utf-8", "replace")
    if done.returncode:
        raise AssertionError(f"promtool {' '.join(arguments)}: exit code {done.returncode}\n{text}")
    return text
