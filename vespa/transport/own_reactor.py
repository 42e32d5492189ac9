"""
A reactor of one's own beside the process's global one, and what has to be closed by hand after it has run.

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
    """A reactor for a thread of one's own, which does not count as the global reactor's. Raises OSError."""
    reactor = make_reactor()
    reactor._registerAsIOThread = False
    return reactor


def close_reactor(reactor: Any) -> None:
    """Close what a reactor keeps after its run: timers, the pipe that wakes it, its own descriptor."""
    reactor.waker = None  # a lookup that is still going on may want to tell of its end
    for call in reactor.getDelayedCalls():
        call.cancel()
    for reader in list(getattr(reactor, "_internalReaders", ())):
        reactor._removeInternalReader(reader)
        reader.connectionLost(None)
    poller = getattr(reactor, "_poller", None)
    if poller is not None:
        poller.close()


def has_run(reactor: Any) -> bool:
    """Whether a reactor has run before, and so will never run again."""
    return bool(getattr(reactor, "_startedBefore", False))


class Resolvers(ThreadPool):
    """Looks names up. Twisted's own threads would keep a program from ending, and a stop waiting for a slow lookup."""

    threadFactory: Any = staticmethod(partial(Thread, daemon=True))

    def stop(self) -> None:
        """Let the threads end, and wait a second at most for those that look a name up."""
        self.joined = True
        self.started = False
        self._team.quit()
        for thread in self.threads:
            thread.join(_LOOKUP_SECONDS / len(self.threads))
