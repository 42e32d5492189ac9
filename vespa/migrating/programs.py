"""Records the programs that a worker's file starts, and lets it go on where one is not there."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any, Final

from vespa.migrating.recorder import Recorder

MOST: Final = 20
TOOLS: Final = frozenset("cc clang gcc git ldconfig nvidia-smi rocm-smi uname".split())
"""Programs that packages start while they are imported, and that are no servers. They are not recorded."""
_NOT_THERE: Final = "raise SystemExit(127)"  # a shell's status for a command that it does not find


def record_programs(recorder: Recorder) -> None:
    """
    Record the name of each program from now on, in this process.

    Many files start their model server before they make their worker. Where the file is read, that server is often not
    installed: a process that ends at once with the status 127 takes its place.
    """

    class Popen(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, args: Any, *more: Any, **options: Any) -> None:
            name = _name(args)
            if len(recorder.programs) < MOST and name not in TOOLS:
                recorder.programs.append(name)
            try:
                super().__init__(args, *more, **options)
            except FileNotFoundError:
                if more[1:] or options.get("shell"):
                    raise
                own = {"executable": None, "cwd": None, "env": None}
                super().__init__([sys.executable, "-c", _NOT_THERE], *more, **{**options, **own})

    subprocess.Popen = Popen  # type: ignore[misc]


def _name(args: Any) -> str:
    """The program's name, without its arguments, which may hold a secret."""
    first = args if isinstance(args, str | bytes | os.PathLike) else next(iter(args), "")
    words = os.fsdecode(first).split()
    return os.path.basename(words[0])[:100] if words else ""
