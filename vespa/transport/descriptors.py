"""How many descriptors the process may have open, and how they are shared out."""

from __future__ import annotations

from typing import Final

from attrs import frozen
from twisted.logger import Logger

RESERVE: Final = 64
"""
Descriptors that no client can take.

They are for files, log and listening port (about 16), the autoscaler (8), probes and keys (4), `PIPES_LEAST` pipes (16)
and connections that are closed to make room (16).
"""
FEW: Final = 1000
"""Connections that a busy worker may need: with so many there is nothing to warn of."""
PIPES_LEAST: Final = 8
PIPES_MOST: Final = 4096

_log = Logger()


@frozen
class Shares:
    """Connections that may be taken, and pipes for `Splice`, with so many descriptors; None: no limit is known."""

    descriptors: int | None
    connections: int
    pipes: int


def share_out(descriptors: int | None, connections: int, reserve: int = RESERVE) -> Shares:
    """
    As many of the `connections` that are wanted as leave `reserve` descriptors free.

    Each inbound connection may need one more descriptor, to the upstream. What is left over is for pipes.
    """
    if descriptors is None:
        return Shares(None, connections, PIPES_MOST)
    free = max(0, descriptors - reserve)
    taken = max(1, min(connections, free // 2))
    pipes = (free - 2 * taken) // 2
    return Shares(descriptors, taken, max(PIPES_LEAST, min(PIPES_MOST, pipes)))


def limit() -> int | None:
    """How many descriptors this process may have open; None where the system has no such limit, or cannot tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def tell(shares: Shares, wanted: int) -> None:
    """Say in the log how many connections are taken: a warning where it is fewer than wanted, and few."""
    if shares.descriptors is None:
        return
    if shares.connections < wanted:
        say = _log.warn if shares.connections < FEW else _log.info
        say(
            "{connections} connections are taken at once, not {wanted}: the system allows {descriptors} open files"
            " (ulimit -n)",
            connections=shares.connections,
            wanted=wanted,
            descriptors=shares.descriptors,
        )
    else:
        _log.info(
            "{connections} connections are taken at once; the system allows {descriptors} open files",
            connections=shares.connections,
            descriptors=shares.descriptors,
        )
