"""How twistd is run in the foreground."""

from __future__ import annotations

import os


def twistd_options(*, windows: bool = os.name == "nt") -> list[str]:
    """Its options: stay in the foreground, and write no file with the process's id, of which Windows knows nothing."""
    return ["-n"] if windows else ["-n", "--pidfile="]
