"""
A reactor of its own, in a thread of its own, for programs that have another event loop or none.

It is never the process's global reactor, and it leaves that one alone: whichever the program installs later is its own
affair. A reactor runs once; another start needs another `ReactorThread`.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock, Thread
from typing import Any, Final, Generic, TypeVar
from weakref import WeakSet

from twisted.application.service import IService
from twisted.internet.defer import maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from vespa.transport.own_reactor import Resolvers, close_reactor, make_own_reactor

ServiceT = TypeVar("ServiceT", bound=IService)

_RESOLVERS: Final = 4
_EXIT_SECONDS: Final = 2.0
_TURNS: Final = 10
_running: Final[WeakSet[ReactorThread[Any]]] = WeakSet()


class ReactorThread(Generic[ServiceT]):
    """
    Runs one service, from `start` to `stop`; both may be called from any thread.

    `started` has the service, or the error it failed to start with, once all else has ended. `ended` is done when
    nothing of it is left: no descriptor, no timer, and the thread about to end; only a lookup of a name may outlast it.
    Neither can be cancelled.
    """

    log = Logger()

    def __init__(self, make: Callable[[Any], ServiceT], name: str) -> None:
        """`make` is called with the reactor, in the thread. Raises OSError where no descriptors are left."""
        self._make = make
        self._reactor = make_own_reactor()
        self._threads = Resolvers(0, _RESOLVERS, name)
        self._reactor.threadpool = self._threads
        self._service: ServiceT | None = None
        self._error: BaseException | None = None
        self._ending = False
        self._lock = Lock()
        self._closed = False
        self.started: Future[ServiceT] = Future()
        self.ended: Future[None] = Future()
        for future in (self.started, self.ended):
            future.set_running_or_notify_cancel()
        # A daemon: a program that ends without a stop is not kept from it.
        self._thread = Thread(target=self._run, name=name, daemon=True)

    def start(self) -> Future[ServiceT]:
        """Start the thread, and the service in it. Raises RuntimeError where there can be no more threads."""
        try:
            self._thread.start()
        except BaseException:
            self._close()
            raise
        return self.started

    def stop(self) -> Future[None]:
        """Have the service stop, and the thread end."""
        self._call(self._end)
        return self.ended

    def join(self, seconds: float | None = None) -> None:
        """Wait for the thread itself."""
        self._thread.join(seconds)

    def cut(self) -> None:
        """End the thread without waiting for the service."""
        self._call(self._halt)

    def _call(self, what: Callable[[], None]) -> None:
        with self._lock:  # the pipe that wakes the reactor must not be another's by now
            if not self._closed:
                self._reactor.callFromThread(what)

    # -- in the thread

    def _run(self) -> None:
        reactor = self._reactor
        _running.add(self)
        try:
            reactor.callWhenRunning(self._begin)
            reactor.run(installSignalHandlers=False)
        except BaseException as error:
            self._error = self._error or error
        finally:
            _running.discard(self)
            self._close()
        if not self.started.done():
            self.started.set_exception(self._error or RuntimeError("it was stopped before it had started"))
        self.ended.set_result(None)

    def _begin(self) -> None:
        self._threads.start()
        try:
            self._service = service = self._make(self._reactor)
            service.startService()  # type: ignore[no-untyped-call]
        except BaseException as error:
            self._error = error
            self._end()
        else:
            self.started.set_result(service)

    def _end(self) -> None:
        if self._ending:
            return
        self._ending = True
        if self._service is None:
            self._halt()
        else:
            maybeDeferred(self._service.stopService).addErrback(self._not_stopped).addBoth(
                lambda _: self._settle(_TURNS)
            )

    def _not_stopped(self, failure: Failure) -> None:
        self.log.failure("the service did not stop cleanly", failure)

    def _settle(self, turns: int) -> None:
        """Let happen what was put off to the next turn: a connection that was cut is closed there, or never."""
        now = self._reactor.seconds()
        if turns and any(call.getTime() <= now for call in self._reactor.getDelayedCalls()):
            self._reactor.callLater(0, self._settle, turns - 1)
        else:
            self._halt()

    def _halt(self) -> None:
        if self._reactor.running:
            self._reactor.stop()

    def _close(self) -> None:
        """What a reactor keeps after its run, because others are never run but at a process's end."""
        self._threads.stop()
        with self._lock:
            self._closed = True
            close_reactor(self._reactor)


@atexit.register
def _cut_all() -> None:
    """No thread of ours is at work while the interpreter takes itself apart."""
    threads = list(_running)
    for thread in threads:
        thread.cut()
    for thread in threads:
        thread.join(_EXIT_SECONDS)
