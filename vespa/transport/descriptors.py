"""The number of descriptors that the process may open, and how it divides them."""

from __future__ import annotations

from typing import Final

from attrs import frozen
from twisted.logger import Logger

RESERVE: Final = 64
"""
Descriptors that clients cannot use.

They are for files, log and listening port (about 16), the autoscaler (8), probes and keys (4), `PIPES_LEAST` pipes (16)
and connections that are being closed for new ones (16).
"""
ADMIN_CONNECTIONS: Final = 32
"""The number of connections to the admin port. Where there is one, clients cannot use these descriptors either."""
FEW: Final = 1000
"""The number of connections that a busy worker may need. Fewer cause a warning."""
PIPES_LEAST: Final = 8
PIPES_MOST: Final = 4096

_log = Logger()


@frozen
class Shares:
    """The connections to accept, and pipes for `Splice`, with a number of descriptors (None: no known limit)."""

    descriptors: int | None
    connections: int
    pipes: int


def share_out(descriptors: int | None, connections: int, reserve: int = RESERVE) -> Shares:
    """
    Accept as many of the wanted `connections` as leave `reserve` descriptors free.

    Each inbound connection may need one more descriptor, to the upstream. The rest is for pipes.
    """
    if descriptors is None:
        return Shares(None, connections, PIPES_MOST)
    free = max(0, descriptors - reserve)
    taken = max(1, min(connections, free // 2))
    pipes = (free - 2 * taken) // 2
    return Shares(descriptors, taken, max(PIPES_LEAST, min(PIPES_MOST, pipes)))


def limit() -> int | None:
    """The number of descriptors that this process may open; None if there is no limit or it is unknown."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def tell(shares: Shares, wanted: int) -> None:
    """Log how many connections are accepted: a warning if they are fewer than wanted, and few."""
    if shares.descriptors is None:
        return
    if shares.connections >= wanted:
        say = _log.info
        text = "Vespa accepts {connections} connections at once; the system allows {descriptors} open files"
    else:
        say = _log.warn if shares.connections < FEW else _log.info
        text = (
            "Vespa accepts {connections} connections at once, not {wanted}: the system allows {descriptors} open files"
            ", and a connection may need two (ulimit -n raises it)"
        )
    say(text, connections=shares.connections, wanted=wanted, descriptors=shares.descriptors)
