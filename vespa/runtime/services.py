"""Services that start in order and stop in order, and that outlive their errors."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

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

    So a child may lean on those above it for the whole of its life: what reports the end of the last request outlives
    the port that the request came through.
    """

    log = Logger()

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._stopping: Deferred[None] = succeed(None)

    def privilegedStartService(self) -> None:
        """Start the children's privileged part, downward. Raises what a child raises, those above it stopped."""
        service.Service.privilegedStartService(self)
        self._downward("privilegedStartService")

    def startService(self) -> None:
        """Start the children downward. Raises what a child raises, those above it stopped."""
        service.Service.startService(self)
        self._downward("startService")

    def stopService(self) -> Deferred[None]:
        """
        Stop the children upward.

        Fires when the last has stopped. Does not fail: a child that cannot stop is logged, and the others still stop.
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
        """A Deferred of the caller's own, so that to cancel it stops no child half way."""
        told: Deferred[None] = Deferred()
        self._stopping.chainDeferred(told)
        return told


class CoroutineService(service.Service):
    """Runs the coroutine `run` from start to stop. A subclass says what it does."""

    log = Logger()
    _task: Deferred[None] | None = None

    async def run(self) -> None:
        """Do the work. Cancelled at stop, which waits for its end."""
        raise NotImplementedError

    def startService(self) -> None:
        """Begin the work."""
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
            self.log.failure("{service} ended by itself", failure, service=type(self).__name__)


class SurvivingLoop(service.Service):
    """
    Calls something at an interval, from start to stop, and goes on when it raises.

    An error is logged with its traceback; the same one again, turn after turn, is not. What the call awaits delays the
    next one: two calls never overlap, and the turns missed meanwhile are left out.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        interval: float,
        call: Callable[[], Awaitable[object] | None],
        *,
        now: bool = True,
        stop_seconds: float = 1.0,
        what: str = "a repeated task",
    ) -> None:
        """`now`: call at start too, not first after an interval. `stop_seconds`: how long a stop waits for a call.

        `what` is what the log calls it.
        """
        self._clock = clock
        self._interval = interval
        self.call = call
        self._now = now
        self._stop_seconds = stop_seconds
        self._what = what
        self._loop = LoopingCall(self._turn)
        self._loop.clock = clock
        self._current: Deferred[None] = succeed(None)
        self._logged = ""

    def startService(self) -> None:
        """Begin to loop."""
        super().startService()  # type: ignore[no-untyped-call]
        self._loop.start(self._interval, self._now)

    def stopService(self) -> Deferred[None]:
        """Loop no more. Fires when the running call has ended, or was cancelled for being too slow; does not fail."""
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
            self.log.failure("{what} failed; it is tried again", what=self._what)

    async def _settle(self) -> None:
        if self._current.called:
            return
        try:
            await within(self._stop_seconds, self._clock, self._current)
        except TimeoutError:
            self.log.warn("{what} was cut short", what=self._what)
