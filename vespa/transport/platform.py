"""
The features of this system, beyond those that Twisted needs everywhere.

Linux has calls that save steps with each connection and each event. Vespa uses them where they exist. On macOS and
Windows Twisted's own reactor, endpoints and TLS do the same work. The choice depends on the features, not on the
system's name.
"""

from __future__ import annotations

import os
import select
import socket
import sys
from typing import Any, Final

from twisted.internet.posixbase import PosixReactorBase
from twisted.internet.selectreactor import SelectReactor

from vespa.transport.choice import is_fast

HAS_EPOLL: Final = hasattr(select, "epoll")  # whether our own reactor can run

HAS_UNIX_SOCKETS: Final = hasattr(socket, "AF_UNIX")

_ATOMIC_FLAGS: Final = hasattr(socket, "SOCK_NONBLOCK") and hasattr(socket, "SOCK_CLOEXEC")

SELECT_SOCKETS: Final = 1024 if os.name == "posix" else 512
"""The number of descriptors that select(2) supports in Python (FD_SETSIZE). Twisted uses it on macOS and Windows."""

_SPARE: Final = 64  # descriptors that do not belong to connections: files, pipes, listening ports, name look-ups


def connects_directly(reactor: object) -> bool:
    """Whether to connect on our own sockets, with Linux's calls. Otherwise Twisted's endpoints connect."""
    return _ATOMIC_FLAGS and isinstance(reactor, PosixReactorBase) and is_fast()


def most_callers(reactor: object, most: int) -> int:
    """
    The number of connections that a proxy on this reactor may accept: `most`, or a lower limit of the reactor.

    Each has another one to a worker, and in a load test a third one to the proxy.
    """
    return min(most, (SELECT_SOCKETS - _SPARE) // 3) if isinstance(reactor, SelectReactor) else most


def install_own_reactor() -> None:
    """Make the fast transports' reactor the global one, if the system has epoll and no other is installed."""
    if HAS_EPOLL and is_fast() and "twisted.internet.reactor" not in sys.modules:
        from vespa.transport.reactor import install

        install()


def make_reactor() -> Any:
    """A reactor for this system, not installed as the global one: ours, or Twisted's."""
    if HAS_EPOLL and is_fast():
        from vespa.transport.reactor import LeanReactor

        return LeanReactor()
    if HAS_EPOLL:
        from twisted.internet.epollreactor import EPollReactor

        return EPollReactor()
    return SelectReactor()
