"""Services that start and stop in order, and that continue after errors."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from attrs import define
from twisted.application import service
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from vespa.runtime.deadlines import within


class InOrder(service.MultiService):
    """
    A parent whose children start downward and stop upward, each awaited before the next.

    So a child may use those above it for its whole life: the reporter, which reports the end of the last request, stops
    after the port.
    """

    log = Logger()

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._stopping: Deferred[None] = succeed(None)

    def privilegedStartService(self) -> None:
        """Start the children's privileged part, downward. After an error it stops those above, and raises it."""
        service.Service.privilegedStartService(self)
        self._downward("privilegedStartService")

    def startService(self) -> None:
        """Start the children downward. After an error it stops those above, and raises it."""
        service.Service.startService(self)
        self._downward("startService")

    def stopService(self) -> Deferred[None]:
        """
        Stop the children upward.

        Fires when the last has stopped. Does not fail: an error of a child is logged, and the others still stop.
        """
        if self.running:
            service.Service.stopService(self)
            self._stop(list(self))
        return self._stopped()

    def _downward(self, method: str) -> None:
        started: list[service.IService] = []
        for child in list(self):
            try:
                getattr(child, method)()
            except BaseException:
                self.running = 0
                self._stop(started)
                raise
            started.append(child)

    def _stop(self, children: Sequence[service.IService]) -> None:
        self._stopping = Deferred.fromCoroutine(self._upward(children))

    async def _upward(self, children: Sequence[service.IService]) -> None:
        for child in reversed(children):
            try:
                await maybeDeferred(child.stopService)
            except Exception:
                self.log.failure("{child} did not stop cleanly", child=type(child).__name__)

    def _stopped(self) -> Deferred[None]:
        """A Deferred of the caller's own. Cancelling it does not interrupt the stop."""
        told: Deferred[None] = Deferred()
        self._stopping.chainDeferred(told)
        return told


class CoroutineService(service.Service):
    """Runs the coroutine method `run` from start to stop."""

    log = Logger()
    _task: Deferred[None] | None = None

    async def run(self) -> None:
        """Do the work. Cancelled by `stopService`, which waits for its end."""
        raise NotImplementedError

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]
        self._task = Deferred.fromCoroutine(self.run()).addErrback(self._ended)

    def stopService(self) -> Deferred[None]:
        """Cancel the work. Fires when it has ended; does not fail."""
        super().stopService()  # type: ignore[no-untyped-call]
        task, self._task = self._task, None
        if task is None:
            return succeed(None)
        task.cancel()
        return task

    def _ended(self, failure: Failure) -> None:
        if self.running or not isinstance(failure.value, CancelledError):
            self.log.failure("{service} ended unexpectedly", failure, service=type(self).__name__)


class _Loop(LoopingCall):
    """Twisted's loop on a clock of its own. Twisted's own constructor imports the global reactor."""

    def __init__(self, call: Callable[[], object], clock: IReactorTime) -> None:
        self.f = call
        self.a = ()
        self.kw = {}
        self.clock = clock


@define(eq=False, slots=False)
class SurvivingLoop(service.Service):
    """
    Calls a function at an interval, from start to stop, and continues after errors.

    An error is logged with its traceback, but not again if it repeats. If the call awaits something, the next call
    waits for it: two calls never overlap, and missed turns are skipped.

    `now`: call at start too, not first after an interval. `stop_seconds`: how long a stop waits for a call. `what` is
    the name of the call in the log.
    """

    log = Logger()

    _clock: IReactorTime
    _interval: float
    call: Callable[[], Awaitable[object] | None]
    _now: bool = True
    _stop_seconds: float = 1.0
    _what: str = "a repeated task"
    _logged = ""

    def __attrs_post_init__(self) -> None:
        self._loop = _Loop(self._turn, self._clock)
        self._current: Deferred[None] = succeed(None)

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]
        self._loop.start(self._interval, self._now)

    def stopService(self) -> Deferred[None]:
        """Stop the loop. Fires when the current call has ended or was cancelled after `stop_seconds`; does not fail."""
        super().stopService()  # type: ignore[no-untyped-call]
        if self._loop.running:
            self._loop.stop()
        return Deferred.fromCoroutine(self._settle())

    def _turn(self) -> Deferred[None]:
        self._current = Deferred.fromCoroutine(self._once())
        return self._current

    async def _once(self) -> None:
        try:
            result = self.call()
            if result is not None:
                await result
        except Exception as error:
            if self.running or not isinstance(error, CancelledError):
                self._log_new(error)
        else:
            self._logged = ""

    def _log_new(self, error: Exception) -> None:
        if repr(error) != self._logged:
            self._logged = repr(error)
            self.log.failure("{what} failed and will be tried again", what=self._what)

    async def _settle(self) -> None:
        if self._current.called:
            return
        try:
            await within(self._stop_seconds, self._clock, self._current)
        except TimeoutError:
            self.log.warn("{what} took too long at the stop and was cancelled", what=self._what)
