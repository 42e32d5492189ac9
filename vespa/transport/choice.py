"""
Which transports a process uses: our own, which are fast, or Twisted's, which use no private name.

It is chosen once, before the reactor is installed and anything is made of it: `VESPA_TRANSPORT`. Where a private name
that ours use is missing from the Twisted or pyOpenSSL that is installed, it is Twisted's by itself.
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
    Use these transports from now on, of `NAMES`; the fast ones only where all names that they need are there.

    Raises ValueError for another name.
    """
    if name not in NAMES:
        raise ValueError(f"{name!r} is no transport: it must be {' or '.join(NAMES)}")
    missing = private_names.missing(needed) if name == FAST else ""
    if missing:
        _log.warn(
            "{name} is not in this version: Twisted's own transports are used, at about twice the CPU time for each"
            " request; install the versions that Vespa was checked against, or ask for a newer Vespa",
            name=missing,
        )
    _Choice.name = STOCK if missing else name


def is_fast() -> bool:
    """Whether our own transports are used; chosen with the first question if it was not before."""
    if not _Choice.name:
        choose()
    return _Choice.name == FAST
