"""Runs checks that do not depend on each other at the same time."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from typing import TypeVar

from twisted.internet.defer import Deferred, FirstError, gatherResults

T = TypeVar("T")


async def together(work: Iterable[Awaitable[T]]) -> list[T]:
    """The results of all, in their order. Raises the first error, or CancelledError if it is cancelled."""
    try:
        results: list[T] = await gatherResults(
            [Deferred.fromCoroutine(_run(each)) for each in work], consumeErrors=True
        )
    except FirstError as error:
        error.subFailure.raiseException()
        raise
    return results


async def _run(work: Awaitable[T]) -> T:
    return await work
