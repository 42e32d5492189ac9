"""
What the system that this runs on offers, beyond what Twisted needs of every one.

Linux has calls that save steps with each connection and each event; they are used where they are. macOS and Windows
lack them, and there Twisted's own reactor, endpoints and TLS do the same work. The choice is made by what is there, not
by the system's name.
"""

from __future__ import annotations

import os
import select
import socket
from typing import Any, Final

from twisted.internet.posixbase import PosixReactorBase
from twisted.internet.selectreactor import SelectReactor

from vespa.transport.choice import is_fast

HAS_EPOLL: Final = hasattr(select, "epoll")
"""Our own reactor can run."""

HAS_UNIX_SOCKETS: Final = hasattr(socket, "AF_UNIX")

_ATOMIC_FLAGS: Final = hasattr(socket, "SOCK_NONBLOCK") and hasattr(socket, "SOCK_CLOEXEC")

SELECT_SOCKETS: Final = 1024 if os.name == "posix" else 512
"""Most descriptors that select(2) takes, as Python is built (FD_SETSIZE): Twisted's reactor on macOS and Windows."""

_SPARE: Final = 64
"""Descriptors that are no connection's: files, pipes, listening ports, what looks names up."""


def connects_directly(reactor: object) -> bool:
    """Whether connections are made on sockets of our own, with Linux's calls; else Twisted's endpoints make them."""
    return _ATOMIC_FLAGS and isinstance(reactor, PosixReactorBase) and is_fast()


def most_callers(reactor: object, most: int) -> int:
    """
    How many connections a proxy on this reactor may take, `most` where it sets no lower limit.

    Each comes with another to a worker, and in a load test with a third, to the proxy.
    """
    return min(most, (SELECT_SOCKETS - _SPARE) // 3) if isinstance(reactor, SelectReactor) else most


def make_reactor() -> Any:
    """A reactor for this system, which is not made the process's own: ours, Twisted's, or Twisted's for any system."""
    if HAS_EPOLL and is_fast():
        from vespa.transport.reactor import LeanReactor

        return LeanReactor()
    if HAS_EPOLL:
        from twisted.internet.epollreactor import EPollReactor

        return EPollReactor()
    return SelectReactor()
