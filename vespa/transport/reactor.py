"""
An epoll reactor that hands an event to its descriptor with fewer steps.

Twisted wraps every event in a log context, so that a line logged inside names the descriptor. It costs 2.4 us an event,
and Vespa logs nothing per chunk. Here the context is left out, and an exception still says whose it was. Between two
waits for events Twisted goes through its timed calls twice; here only when there is one that is due, or new. What was
queued with `turn_end` is written when the events of one wait, or the timed calls before it, are handed out. All else is
`EPollReactor`. Vespa's commands choose this reactor, unless another is named with `twistd --reactor`.
"""

from __future__ import annotations

from select import EPOLLIN

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.main import installReactor
from twisted.logger import Logger
from twisted.python import log

from vespa.transport.turn_end import QueuedTurnEnd

_survived = Logger().failureHandler("in the reactor's loop:")
_LONGEST_SECONDS = 3600.0
EVENTS_A_TURN = 64
"""Events that one turn hands out: what they have queued is not to wait for hundreds of others."""


class LeanReactor(EPollReactor):
    """`EPollReactor`, but what is logged while an event is handled carries no `system` unless it is an exception's."""

    def __init__(self) -> None:
        self.turn_end = QueuedTurnEnd()
        super().__init__()  # type: ignore[no-untyped-call]

    def mainLoop(self) -> None:
        """Until stopped: run what is due, wait for events, hand them out. Exceptions are logged, and it goes on."""
        while self._started:
            with _survived:
                if self.turn_end.calls:  # from before the first turn, or left by one that an exception has ended
                    self.turn_end.flush()
                while self._started:
                    pending = self._pendingTimedCalls
                    now = self.seconds()
                    if (
                        self._newTimedCalls
                        or (pending and pending[0].time <= now)
                        or self.threadCallQueue
                        or self._justStopped
                        or not self.running
                    ):
                        self.runUntilCurrent()
                        self.doPoll(self.running and self.timeout())
                    elif pending:
                        wait = pending[0].time - now
                        self.doPoll(wait if wait < _LONGEST_SECONDS else _LONGEST_SECONDS)
                    else:
                        self.doPoll(None)

    def runUntilCurrent(self) -> None:
        """Run what is due, and write what that has queued: the wait that follows may be long."""
        super().runUntilCurrent()
        if self.turn_end.calls:
            self.turn_end.flush()

    def doPoll(self, timeout: float | None) -> None:
        """Wait up to `timeout` seconds (None: until something happens), hand out what happened, end the turn."""
        try:
            events = self._poller.poll(-1 if timeout is None else timeout, EVENTS_A_TURN)
        except InterruptedError:
            return
        find = self._selectables.get
        for fd, event in events:
            selectable = find(fd)
            if selectable is None:
                continue  # an event before this one, in the same batch, removed it
            try:
                if event != EPOLLIN or selectable.fileno() == -1:
                    self._doReadOrWrite(selectable, fd, event)  # type: ignore[no-untyped-call]
                    continue
                read = False
                try:
                    why = selectable.doRead()
                    read = True
                except BaseException as error:
                    why = error
                    log.err(system=_system(selectable))
                if why:
                    self._disconnectSelectable(selectable, why, read)  # type: ignore[no-untyped-call]
            except KeyboardInterrupt:
                raise
            except BaseException:  # from a protocol's connectionLost: the other events must still be heard
                log.err(system=_system(selectable))
        if self.turn_end.calls:
            self.turn_end.flush()

    doIteration = doPoll


def _system(selectable: object) -> str:
    try:
        return str(selectable.logPrefix())  # type: ignore[attr-defined]
    except Exception:
        return "(buggy logPrefix method)"


def install() -> None:
    """Make a `LeanReactor` the process's reactor. Raises ReactorAlreadyInstalledError if there is one."""
    installReactor(LeanReactor())
