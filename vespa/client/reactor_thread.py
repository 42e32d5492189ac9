"""
One run of a service: on the program's reactor, or on a reactor of its own in a thread of its own.

The latter is for programs with another event loop or none. That reactor never becomes the global one, so
the program may install any global reactor later. A reactor can run only once, and so can a `ServiceRun`.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock, Thread
from typing import Any, Final, Generic, TypeVar
from weakref import WeakSet

from twisted.application.service import IService
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from vespa.client.event_loops import done_deferred, in_asyncio
from vespa.client.service_calls import ServiceCalls
from vespa.transport.own_reactor import Resolvers, close_reactor, make_own_reactor

T = TypeVar("T")
ServiceT = TypeVar("ServiceT", bound=IService)

_RESOLVERS: Final = 4
_EXIT_SECONDS: Final = 2.0
_TURNS: Final = 10
_running: Final[WeakSet[ReactorThread[Any]]] = WeakSet()


class ServiceRun(Generic[ServiceT]):
    """
    Runs one service on a reactor, from `start` to `stop` or to the end of the reactor.

    `started` has the service, or the error of its start after everything else has ended. `ended` is done when
    nothing of the service is left. Neither can be cancelled.
    """

    log = Logger(namespace="vespa.client")
    _trigger: Any = None
    _service: ServiceT | None = None

    def __init__(self, make: Callable[[Any], ServiceT], reactor: Any) -> None:
        """`make` is called with the reactor, in the reactor's thread."""
        self.stopping = False  # whether `stop` was called, or the start failed
        self._make = make
        self._reactor = reactor
        self._error: BaseException = RuntimeError("the client was stopped before it had started")
        self._lock = Lock()
        self._calls = ServiceCalls()
        self.started: Future[ServiceT] = Future()
        self.ended: Future[None] = Future()
        for future in (self.started, self.ended):
            future.set_running_or_notify_cancel()

    def start(self) -> Future[ServiceT]:
        self._trigger = self._reactor.addSystemEventTrigger("before", "shutdown", self._shut_down)
        self._begin()
        return self.started

    def stop(self) -> Future[None]:
        """Stop the service. May be repeated."""
        with self._lock:
            is_first, self.stopping = not self.stopping, True
        if is_first:
            self._call(self._end)
        return self.ended

    def call(self, what: Callable[[ServiceT], Any]) -> Future[Any]:
        """
        Call `what` with the service, in the reactor's thread.

        The future has its result, or that of its Deferred. It fails with NotRunning if the run ends before.
        """
        with self._lock:
            over = self.stopping or self._service is None
            future = self._calls.begin()
        if over:
            self._calls.fail(future)
        else:
            self._call(lambda: self._calls.call(what, self._service, future))
            if self.ended.done():  # by itself, perhaps before the call
                self._calls.fail_all()
        return future

    def join(self) -> None:
        """After the end: wait for the run's own thread, if it has one."""

    async def outcome(self, future: Future[T]) -> T:
        """The result of one of its futures. Cancelling this does not cancel the run."""
        if not future.done():
            await done_deferred(future)
        return future.result()

    # -- in the reactor's thread

    def _call(self, what: Callable[[], None]) -> None:
        what()

    def _begin(self) -> None:
        try:
            self._service = service = self._make(self._reactor)
            service.startService()  # type: ignore[no-untyped-call]
        except BaseException as error:
            self._error = error
            self.stop()
        else:
            self.started.set_result(service)

    def _end(self) -> None:
        stopped = succeed(None) if self._service is None else maybeDeferred(self._service.stopService)
        stopped.addErrback(self._not_stopped).addBoth(lambda _: self._stopped())

    def _not_stopped(self, failure: Failure) -> None:
        self.log.failure("the service did not stop cleanly", failure)

    def _stopped(self) -> None:
        try:
            self._reactor.removeSystemEventTrigger(self._trigger)
        except (KeyError, TypeError, ValueError):
            pass  # the trigger itself called `stop`
        self._finish()

    def _shut_down(self) -> Deferred[None]:
        return done_deferred(self.stop())

    def _finish(self) -> None:
        if not self.started.done():
            self.started.set_exception(self._error)
        self._calls.fail_all()
        self.ended.set_result(None)


class ReactorThread(ServiceRun[ServiceT]):
    """
    Runs one service on a reactor of its own, in a thread of its own. Any thread may start and stop it.

    After its end no descriptor and no timer is left, and the thread is about to end. Only a look-up of a name may
    last longer. In a child process of `os.fork` it has ended, as far as the child can tell.
    """

    def __init__(self, make: Callable[[Any], ServiceT], name: str) -> None:
        """Raises OSError if no descriptors are left."""
        super().__init__(make, make_own_reactor())
        self._threads = Resolvers(0, _RESOLVERS, name)
        self._reactor.threadpool = self._threads
        self._closed = False
        # A daemon thread does not keep a program from ending.
        self._thread = Thread(target=self._run, name=name, daemon=True)

    def start(self) -> Future[ServiceT]:
        """Start the thread, and the service in it. Raises RuntimeError if the system allows no more threads."""
        try:
            self._thread.start()
        except BaseException:
            self._close()
            self._finish()
            raise
        return self.started

    def join(self, seconds: float | None = None) -> None:
        if self._thread.ident is not None:
            self._thread.join(seconds)

    async def outcome(self, future: Future[T]) -> T:
        """Like `ServiceRun.outcome`, but blocks under an unknown event loop."""
        if not in_asyncio():
            return future.result()
        import asyncio

        return await asyncio.wrap_future(future)

    def cut(self) -> None:
        """End the thread without waiting for the service."""
        self._call(self._halt)

    def _call(self, what: Callable[[], None]) -> None:
        thread = self._thread
        if thread.ident is not None and not thread.is_alive() and not self.ended.done():
            self._finish()  # the process was forked: the thread is in its parent, and goes on there
            return
        with self._lock:  # after `_close` the descriptor of the reactor's pipe may belong to something else
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
            self._error = error
        finally:
            _running.discard(self)
            self._close()
        self._finish()

    def _begin(self) -> None:
        self._threads.start()
        super()._begin()

    def _stopped(self, turns: int = _TURNS) -> None:
        """Let the next turns run first: an aborted connection is closed there, or never."""
        now = self._reactor.seconds()
        if turns and any(call.getTime() <= now for call in self._reactor.getDelayedCalls()):
            self._reactor.callLater(0, self._stopped, turns - 1)
        else:
            self._halt()

    def _halt(self) -> None:
        if self._reactor.running:
            self._reactor.stop()

    def _close(self) -> None:
        """Close what a reactor keeps open after its run, because normally the end of the process closes it."""
        self._threads.stop()
        with self._lock:
            self._closed = True
            close_reactor(self._reactor)


@atexit.register
def _cut_all() -> None:
    """End all threads before the interpreter shuts down."""
    threads = list(_running)
    for thread in threads:
        thread.cut()
    for thread in threads:
        thread.join(_EXIT_SECONDS)
