"""The names of all variables, and hints for misspelt names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from vespa.config.client import ClientSettings
from vespa.config.other_programs import OTHERS
from vespa.config.schema import rows
from vespa.config.worker import WorkerSettings

_PREFIXES = ("VESPA_", "VAST_")
_NEAR = 0.8  # of difflib's ratio, in which 1 is the same


def variables() -> set[str]:
    """Every variable that Vespa's programs read."""
    known = [*rows(WorkerSettings), *rows(ClientSettings), *OTHERS]
    return {name for row in known for name in (row.name, row.fallback) if name}


def unknown_variables(environ: Mapping[str, str], prefix: str) -> list[str]:
    """A line for each unknown variable that begins with `prefix`, or that is nearly the name of a known one."""
    known = variables()
    lines = []
    for name in sorted(environ):
        if name.startswith(_PREFIXES) and name not in known:
            meant = did_you_mean(name, known)
            if meant or name.startswith(prefix):
                lines.append(f"{name} is not a setting{meant}")
    return lines


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A question to add to an unknown name: "; did you mean …?", or "" if no known name is near."""
    start = name.find("_") + 1 if name.startswith(_PREFIXES) else 0  # the prefix of a variable does not count
    ours = {each[start:]: each for each in sorted(known) if each.startswith(name[:start])}
    near = difflib.get_close_matches(name[start:], ours, n=1, cutoff=_NEAR)
    return f"; did you mean {ours[near[0]]}?" if near else ""
