"""Waiting no longer than one wants to."""

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
    Wait for `work`, but no longer than `seconds` (None: as long as it takes).

    Fires with what the work gives. Fails as the work fails, with `TimeoutError` when the time is up, and with
    `CancelledError` when it is cancelled itself; in these two cases the work is cancelled and what becomes of it is
    dropped. Agents answer a cancel with errors of many kinds, or late, or never; here it is always the same, at once.
    """
    inner = Deferred.fromCoroutine(_finish(work))

    def end(result: T | Failure) -> None:
        if not outer.called:
            if timer is not None and timer.active():
                timer.cancel()
            outer.callback(result)
            inner.cancel()

    def expire() -> None:
        end(Failure(TimeoutError(f"no end within {seconds:g} s")))

    outer: Deferred[T] = Deferred(lambda _: end(Failure(CancelledError())))
    timer = None if seconds is None else clock.callLater(seconds, expire)
    inner.addBoth(end)
    return outer


async def _finish(work: Awaitable[T]) -> T:
    return await work


def sleep(seconds: float, clock: IReactorTime) -> Deferred[None]:
    """Fires after so many seconds; fails with `CancelledError` when cancelled, and then leaves no timer."""
    return deferLater(clock, seconds)
