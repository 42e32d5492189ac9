"""
An epoll reactor that dispatches an event with fewer steps.

Twisted wraps every event in a log context, so that a line logged inside names the descriptor. This costs 2.4 us an
event, and Vespa logs nothing per chunk. This reactor leaves the context out, but the log of an exception still names
the descriptor. Between two waits for events Twisted goes through its timed calls twice. This reactor does so only if
one is due or new. It writes the data queued with `turn_end` after the events of one wait, and after the timed calls
before it. Everything else is `EPollReactor`. Vespa's commands use this reactor, unless `twistd --reactor` names
another.
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
"""The number of events in one turn. Data that they queue must not wait for hundreds of other events."""


class LeanReactor(EPollReactor):
    """`EPollReactor`, except that lines logged during an event carry no `system`, unless they report an exception."""

    def __init__(self) -> None:
        self.turn_end = QueuedTurnEnd()
        super().__init__()  # type: ignore[no-untyped-call]

    def mainLoop(self) -> None:
        """Until stopped: run due calls, wait for events, dispatch them. Exceptions are logged, and the loop goes on."""
        while self._started:
            with _survived:
                if self.turn_end.calls:  # queued before the first turn, or left by a turn that an exception ended
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
        """Run due calls, and write the data that they queue, because the next wait may be long."""
        super().runUntilCurrent()
        if self.turn_end.calls:
            self.turn_end.flush()

    def doPoll(self, timeout: float | None) -> None:
        """Wait up to `timeout` seconds (None: until an event), dispatch the events, end the turn."""
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
            except BaseException:  # from a protocol's connectionLost: the other events must still be dispatched
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
    """Install a `LeanReactor` as the global reactor. Raises ReactorAlreadyInstalledError if there is one."""
    installReactor(LeanReactor())
