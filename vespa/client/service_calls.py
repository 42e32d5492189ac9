"""Calls of a program to the service in another thread, and their results."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from twisted.internet.defer import maybeDeferred
from twisted.python.failure import Failure


class NotRunning(RuntimeError):
    """The service was stopped, or has not started."""


class ServiceCalls:
    """The calls that have no result yet."""

    def __init__(self) -> None:
        self._pending: set[Future[Any]] = set()

    def begin(self) -> Future[Any]:
        """A future for a call. It cannot be cancelled."""
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        self._pending.add(future)
        return future

    def call(self, what: Callable[[Any], Any], service: Any, future: Future[Any]) -> None:
        """Call `what` with the service, in its thread. The future gets the result, or that of its Deferred."""

        def done(result: Any) -> None:
            if future in self._pending:
                self._pending.discard(future)
                if isinstance(result, Failure):
                    future.set_exception(result.value)
                else:
                    future.set_result(result)

        maybeDeferred(what, service).addBoth(done)

    def fail(self, future: Future[Any]) -> None:
        """There is no service for this call: it fails with NotRunning, unless it has a result."""
        if future in self._pending:
            self._pending.discard(future)
            future.set_exception(NotRunning("the client is not started"))

    def fail_all(self) -> None:
        """There is no service any more."""
        for future in list(self._pending):
            self.fail(future)
