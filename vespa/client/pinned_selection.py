"""The selection of a request that must go to one worker, because that worker has what the request needs."""

from __future__ import annotations

from twisted.internet.interfaces import IDelayedCall

from vespa.client.interfaces import Pin, RequestSearch
from vespa.client.retries import error_code
from vespa.client.worker_selection import WorkerSelection, WorkerSelector
from vespa.http.interfaces import UpstreamError
from vespa.protocol.refusal import Refusal
from vespa.protocol.response_head import ResponseHead
from vespa.proxy.exchange import Exchange
from vespa.vast.assignment import seconds_before

_BUSY_AGAIN_SECONDS = 1.0  # the shortest pause before a busy worker is asked again


class PinnedSelection(WorkerSelection):
    """
    One request's worker, which cannot be another one.

    If the worker is busy, it is asked again, as often as others would be. So it is if it has closed a kept connection
    while all others are in use. If it cannot be reached, the request is refused.
    """

    _refusing: IDelayedCall | None = None

    def __init__(self, selector: WorkerSelector, exchange: Exchange, search: RequestSearch, pin: Pin) -> None:
        super().__init__(selector, exchange, search)
        self.pin = pin

    def cancel(self) -> None:
        super().cancel()
        refusing, self._refusing = self._refusing, None
        if refusing is not None:
            refusing.cancel()

    def begin_again(self, failure: UpstreamError | ResponseHead) -> bool:
        """Ask the same worker again after this failure, or refuse. Returns False to pass the failure on."""
        if isinstance(failure, ResponseHead):
            code = error_code(failure)
            return code == "busy" and self._ask_again(code, f"it answered {failure.status}")
        why = f"{failure.code}: {failure}"
        if failure.unread and self.worker is not None and self.worker.pool.full and self._ask_again(failure.code, why):
            return True  # it has closed a kept connection, and the others are in use
        if failure.slow:
            message = f"{failure}. No other worker was asked: what the request is about is at this one"
            refusal = Refusal(504, failure.code, message, origin="worker")
        else:
            refusal = self.pin.unreachable(failure)
        self.note_failure(why)
        self._refusing = self._selector.timer.clock.callLater(0, self._refuse, refusal)
        return True

    def _refuse(self, refusal: Refusal) -> None:
        self._refusing = None
        self._exchange.refuse(refusal)

    def _ask_again(self, code: str, why: str) -> bool:
        selector, policy = self._selector, self._policy
        if self._attempts >= policy.attempts:
            return False
        delay = max(_BUSY_AGAIN_SECONDS, seconds_before(self._attempts, selector.autoscaler.random))
        now = selector.timer.clock.seconds()
        if policy.seconds:
            if now + delay - self._exchange.received_at >= policy.seconds:
                return False
            selector.timer.add(self)
        selector.retried[code] += 1
        self.note_failure(why)
        self._search.begin(self, delay)
        return True
