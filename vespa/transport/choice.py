"""
Chooses the transports of a process: our own, which are fast, or Twisted's, which use no private name.

`VESPA_TRANSPORT` makes the choice once, before the reactor is installed. If the installed Twisted or pyOpenSSL lacks a
private name that ours need, the process uses Twisted's.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from twisted.logger import Logger

from vespa.transport import private_names

FAST: Final = "fast"
STOCK: Final = "stock"
NAMES: Final = (FAST, STOCK)

_log = Logger()


class _Choice:
    name: str = ""


def choose(name: str = FAST, needed: Iterable[str] = private_names.FAST) -> None:
    """
    Use these transports, one of `NAMES`, from now on. `needed` are the names without which the fast ones are not used.

    Raises ValueError for another name.
    """
    if name not in NAMES:
        raise ValueError(f"{name!r} is not a transport: it must be {' or '.join(NAMES)}")
    missing = private_names.missing(needed) if name == FAST else ""
    if missing:
        _log.warn(
            "{name} is not in this version: Vespa uses Twisted's own transports, at about twice the CPU time for each"
            " request; install the versions that Vespa was checked with, or a newer Vespa",
            name=missing,
        )
    _Choice.name = STOCK if missing else name


def is_fast() -> bool:
    """Whether the process uses our own transports. Chooses now if `choose` was not called before."""
    if not _Choice.name:
        choose()
    return _Choice.name == FAST
