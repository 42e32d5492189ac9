"""The contract suites over Twisted's own transports and reactor: `python -m tests.over_stock [module ...]`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

ROOT = Path(__file__).parent.parent

NAMES = ("tests.contract", "tests.client.test_service", "tests.client.test_trust")
"""What has to pass whichever transports are used."""


def start(names: Sequence[str] = NAMES, output: int | TextIO = subprocess.PIPE) -> subprocess.Popen[str]:
    """Run tests over the stock transports; what they say goes to a pipe, or to a file."""
    # Nothing would be tested twice, and nobody would notice, if the choice were lost.
    code = (
        "import sys; from tests.run import main; from vespa.transport.choice import is_fast; "
        "sys.exit('these are the fast transports' if is_fast() else main(sys.argv[1:]))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, *names],
        env={**os.environ, "VESPA_TRANSPORT": "stock"},
        cwd=ROOT,
        stdout=output,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    )


def main(arguments: Sequence[str]) -> int:
    """Run the tests, and show what they say."""
    running = start(arguments or NAMES)
    text, _ = running.communicate()
    print(text)
    return running.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
