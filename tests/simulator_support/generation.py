"""Producing many bytes, at the pace at which the client reads."""

from __future__ import annotations

from collections.abc import Iterator

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.web.server import Request
from zope.interface import implementer


@implementer(IPushProducer)
class Generation:
    """Writes pieces to a request as fast as they are taken.

    It waits while the client does not read, and stops for good when the client hangs up.
    """

    def __init__(self, clock: IReactorTime, request: Request, pieces: Iterator[bytes]) -> None:
        self._clock = clock
        self._request = request
        self._pieces = pieces
        self._paused = False
        self._next: IDelayedCall | None = None
        self._done: Deferred[None] = Deferred(lambda _: self.stopProducing())

    async def run(self) -> None:
        """Write all pieces. Fails with CancelledError when the client hung up first."""
        self._request.registerProducer(self, True)
        self._schedule()
        await self._done  # which Klein cancels at a hang-up, when there is nothing left to unregister from
        self._request.unregisterProducer()

    def pauseProducing(self) -> None:
        """Write no more until told to."""
        self._paused = True
        self._unschedule()

    def resumeProducing(self) -> None:
        """Write on."""
        self._paused = False
        if self._next is None and not self._done.called:
            self._schedule()

    def stopProducing(self) -> None:
        """Write nothing more: the client is gone, and `run` is about to be cancelled."""
        self._unschedule()
        self._paused = True

    def _schedule(self) -> None:
        self._next = self._clock.callLater(0, self._write_next)

    def _unschedule(self) -> None:
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _write_next(self) -> None:
        self._next = None
        piece = next(self._pieces, None)
        if piece is None:
            self._done.callback(None)
            return
        self._request.write(piece)
        if not self._paused and self._next is None and not self._done.called:
            self._schedule()
