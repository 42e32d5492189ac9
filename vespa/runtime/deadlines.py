"""Time limits for asynchronous work."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

T = TypeVar("T")


def within(seconds: float | None, clock: IReactorTime, work: Awaitable[T]) -> Deferred[T]:
    """
    Wait for `work`, but at most `seconds` (None: no limit).

    Fires with the result of the work. Fails with the error of the work, with `TimeoutError` after `seconds`, and with
    `CancelledError` when it is cancelled. In the last two cases it cancels the work and drops its result. Agents react
    to a cancel with many kinds of errors, or late, or never. This Deferred always reacts in the same way, at once.
    """
    inner = Deferred.fromCoroutine(_finish(work))

    def end(result: T | Failure) -> None:
        if not outer.called:
            if timer is not None and timer.active():
                timer.cancel()
            outer.callback(result)
            inner.cancel()

    def expire() -> None:
        end(Failure(TimeoutError(f"not finished within {seconds:g} s")))

    outer: Deferred[T] = Deferred(lambda _: end(Failure(CancelledError())))
    timer = None if seconds is None else clock.callLater(seconds, expire)
    inner.addBoth(end)
    return outer


async def _finish(work: Awaitable[T]) -> T:
    return await work


def sleep(seconds: float, clock: IReactorTime) -> Deferred[None]:
    """Fires after so many seconds; fails with `CancelledError` when cancelled, and then leaves no timer."""
    return deferLater(clock, seconds)
