"""The tests that do not need Linux, with its names masked: `python -m tests.masked darwin|win32 [module ...]`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

ROOT = Path(__file__).parent.parent

MASKS = ("darwin", "win32")
EVERYWHERE = (
    "tests.client",
    "tests.loadtest",
    "tests.runtime.test_standard_streams",
    "tests.proxy",
    "tests.contract.test_connections",
    "tests.contract.test_responses",
    "tests.contract.test_requests",
    "tests.contract.test_tunnels",
    "tests.system.test_platforms",
)
"""What has to pass on every system."""

_COUNTS = re.compile(r"(\d+) passed, (\d+) failed(?:, (\d+) skipped)?\s*\Z")


def environment(mask: str) -> dict[str, str]:
    """This process's environment, for a Python that looks like that of another system."""
    paths = [str(ROOT / "tests" / "masking"), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "MASKED_AS": mask, "PYTHONPATH": os.pathsep.join(paths)}


def start(
    mask: str, names: Sequence[str] = EVERYWHERE, output: int | TextIO = subprocess.PIPE
) -> subprocess.Popen[str]:
    """Run tests under a mask; what they say goes to a pipe, or to a file."""
    # Nothing would be masked, and nobody would notice, if another module of that name came first.
    code = (
        "import sys, sitecustomize; from tests.run import main; "
        f"sys.exit(main(sys.argv[1:]) if sitecustomize.MASK == {mask!r} else 'nothing is masked')"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, *names],
        env=environment(mask),
        cwd=ROOT,
        stdout=output,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    )


def counts(text: str) -> tuple[int, int, int]:
    """Passed, failed and skipped, as the last line of a run says; a run without one failed."""
    found = _COUNTS.search(text)
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found is not None else (0, 1, 0)


def main(arguments: Sequence[str]) -> int:
    """Run the tests under one mask, and show what they say."""
    mask, *names = arguments
    running = start(mask, names or EVERYWHERE)
    text, _ = running.communicate()
    print(text)
    return running.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
