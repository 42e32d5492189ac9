"""
A reactor beside the process's global one, and the cleanup after its run.

Twisted expects one reactor a process, which ends with it, so there are no public names for this.
"""

from __future__ import annotations

from functools import partial
from threading import Thread
from typing import Any, Final

from twisted.python.threadpool import ThreadPool

from vespa.transport.platform import make_reactor

_LOOKUP_SECONDS: Final = 1.0


def make_own_reactor() -> Any:
    """A reactor for a thread, which does not become the global reactor. Raises OSError."""
    reactor = make_reactor()
    reactor._registerAsIOThread = False
    return reactor


def close_reactor(reactor: Any) -> None:
    """Close what a reactor keeps open after its run: timers, the pipe that wakes it, its own descriptor."""
    reactor.waker = None  # a look-up that is still running may try to report its end
    for call in reactor.getDelayedCalls():
        call.cancel()
    for reader in list(getattr(reactor, "_internalReaders", ())):
        reactor._removeInternalReader(reader)
        reader.connectionLost(None)
    poller = getattr(reactor, "_poller", None)
    if poller is not None:
        poller.close()


def has_run(reactor: Any) -> bool:
    """Whether a reactor has run before, and so cannot run again."""
    return bool(getattr(reactor, "_startedBefore", False))


class Resolvers(ThreadPool):
    """Looks up names in daemon threads: with Twisted's own threads a slow look-up would keep a program from ending."""

    threadFactory: Any = staticmethod(partial(Thread, daemon=True))

    def stop(self) -> None:
        """Let the threads end, and wait a second at most for those that look up a name."""
        self.joined = True
        self.started = False
        self._team.quit()
        for thread in self.threads:
            thread.join(_LOOKUP_SECONDS / len(self.threads))
