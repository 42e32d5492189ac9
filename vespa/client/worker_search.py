"""
Finds a worker for one request: asks the autoscaler, and asks again while it has none.

A search ends with an assignment, with a refusal, or because it is cancelled. A request that goes to another
worker searches again. It keeps its index if the worker never responded, so that the autoscaler recognises the
request. It takes a new index if the worker responded, because that worker has reported the result of the old one.
"""

from __future__ import annotations

from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from vespa.client.autoscaler_client import ASK_SECONDS, AutoscalerClient
from vespa.client.console import ConsoleError
from vespa.client.interfaces import SearchListener
from vespa.http.fetch import Fetch
from vespa.http.interfaces import UpstreamError
from vespa.protocol.refusal import Refusal
from vespa.protocol.response_head import ResponseHead
from vespa.vast.assignment import Assignment, BadRouteResponse, error_text, read_route_response

_RETRY_MAX_SECONDS: Final = 5.0
_RETRY_AFTER_MAX_SECONDS: Final = 30.0
_CONFIGURED: Final = frozenset(("bad_endpoint_key", "no_endpoint_key", "route_refused"))
"""The error codes of what an operator has to change."""
_AGAIN: Final = frozenset((408, 425, 429))


class WorkerSearch:
    """
    The search of one request. `cost` is in Vast's units.

    It has no deadline of its own: the caller calls `give_up`.
    """

    _pending: Fetch | IDelayedCall | Deferred[Any] | None = None  # a request, a wait, or a look-up of the key
    _polls = 0
    _failures = 0
    _asked_with = ""
    _key_refreshed = False
    _status = ""
    _listener: SearchListener | None = None  # None while no search is in progress

    def __init__(self, autoscaler: AutoscalerClient, cost: float, began_at: float) -> None:
        """`began_at` is the time when the request came."""
        self._autoscaler = autoscaler
        self._cost = cost
        self._request_idx = 0
        self.began_at = began_at

    def begin(self, listener: SearchListener, delay: float = 0.0, *, anew: bool = False) -> None:
        """
        Ask after `delay` seconds, and report the result to `listener`.

        `anew`: with a new request index.
        """
        if anew:
            self._request_idx = 0
        self._listener = listener
        self._autoscaler.searching.add(self)
        self._polls = self._failures = 0
        if delay:
            self._later(delay)
        else:
            self._ask()

    def cancel(self) -> SearchListener | None:
        """Cancel the search. Returns the listener, which is not called."""
        listener = self._end()
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.cancel()
        return listener

    def give_up(self, seconds: float) -> None:
        """The time is up: refuse with the last state of the search."""
        if self._listener is None:
            return
        if self._failures:
            message = f"the autoscaler failed for {seconds:g} s: {self._status}"
            refusal = _final(503, "autoscaler_unavailable", message, retry_after=5)
        else:
            message = f"no worker was free within {seconds:g} s" + (f": {self._status}" if self._status else "")
            refusal = _final(503, "no_worker", message, retry_after=5)
        self.refuse(refusal)

    # -- asking

    def _ask(self) -> None:
        self._pending = None
        key = self._autoscaler.key.current()
        if key:
            self._ask_with(key)
        else:
            self._find_key()

    def _find_key(self) -> None:
        self._pending = finding = self._autoscaler.key.find()
        finding.addCallbacks(self._key_found, self._key_not_found)

    def _key_found(self, key: str) -> None:
        self._pending = None
        if self._listener is not None:
            self._ask_with(key)

    def _key_not_found(self, failure: Failure) -> None:
        self._pending = None
        if self._listener is None:
            return
        error: Any = failure.value
        if not isinstance(error, ConsoleError):
            self._autoscaler.log.failure("the look-up of the endpoint's key failed", failure)
            self.refuse(Refusal(500, "internal_error", "the proxy failed: its log has the traceback"))
        elif error.final:
            self.refuse(Refusal(401, "no_endpoint_key", str(error), origin="console"))
        else:
            self._again_after_failure(str(error))

    def _ask_with(self, key: str) -> None:
        autoscaler = self._autoscaler
        self._asked_with = key
        question = autoscaler.question(key, self._cost, self._request_idx)
        fetch = Fetch(autoscaler.pool, autoscaler.timer, question, self, seconds=ASK_SECONDS)
        if self._pending is None:  # otherwise it has already failed, and the next one waits
            self._pending = fetch

    def completed(self, head: ResponseHead, body: bytes) -> None:
        """The autoscaler has responded."""
        self._pending = None
        status = head.status
        if status == 200:
            self._read(body)
        elif status == 401 or status == 403:
            self._key_refused(status)
        elif status in _AGAIN or status >= 500:
            self._again_after_failure(f"it answered {status}", _retry_after(head))
        else:
            reason = self._autoscaler.cleaned(error_text(body)) or "nothing"
            message = f"the autoscaler refused to route: it answered {status}: {reason}; `--list` shows the endpoints"
            self.refuse(_final(502, "route_refused", message))

    def failed(self, error: UpstreamError) -> None:
        """The autoscaler has not responded."""
        self._pending = None
        self._again_after_failure(str(error))

    def _read(self, body: bytes) -> None:
        try:
            response = read_route_response(body, self._request_idx)
        except BadRouteResponse as error:
            self._again_after_failure(f"its response cannot be used: {error}")
            return
        self._autoscaler.note(None)
        self._failures = 0
        self._request_idx = response.request_idx
        if isinstance(response, Assignment):
            listener = self._end()
            if listener is not None:
                listener.found(response)
            return
        self._status = self._autoscaler.cleaned(response.status)
        self._polls += 1
        self._wait(self._autoscaler.seconds_before(self._polls), self._status)

    def _key_refused(self, status: int) -> None:
        # A key that was looked up may have been replaced since. So look it up again, once.
        key = self._autoscaler.key
        if not self._key_refreshed:
            self._key_refreshed = True
            if key.value != self._asked_with:
                self._ask()  # another search has found a new key meanwhile
                return
            if key.may_look_up():
                self._find_key()
                return
        message = (
            f"the autoscaler rejected the endpoint's key with status {status}. "
            "If it is an account's key, set it as VAST_ACCOUNT_KEY or --account-key"
        )
        self.refuse(_final(401, "bad_endpoint_key", message))

    # -- waiting

    def _again_after_failure(self, trouble: str, retry_after: float = 0.0) -> None:
        self._autoscaler.note(trouble)
        self._failures += 1
        self._status = trouble
        growing = min(0.25 * 2.0 ** min(self._failures, 6), _RETRY_MAX_SECONDS)
        autoscaler = self._autoscaler
        # Random and longer: clients with the same Retry-After must not return at the same time.
        told = retry_after * (1.0 + autoscaler.random() / 2)
        seconds = max(growing * (0.5 + autoscaler.random() / 2), told, autoscaler.turn_seconds())
        self._wait(seconds, f"the autoscaler failed: {trouble}")

    def _wait(self, seconds: float, status: str) -> None:
        autoscaler = self._autoscaler
        autoscaler.waits(self, status)
        self._later(seconds)
        if self._listener is not None:
            self._listener.still_waiting(status, autoscaler.timer.clock.seconds() - self.began_at)

    def _later(self, seconds: float) -> None:
        self._pending = self._autoscaler.timer.clock.callLater(seconds, self._ask)

    # -- ends

    def _end(self) -> SearchListener | None:
        listener, self._listener = self._listener, None
        self._autoscaler.searching.discard(self)
        self._autoscaler.waits_no_more(self)
        return listener

    def refuse(self, refusal: Refusal) -> None:
        """End the search without a worker, and tell the listener."""
        if refusal.code in _CONFIGURED:
            self._autoscaler.trouble = refusal.message
        listener = self.cancel()
        if listener is not None:
            listener.not_found(refusal)


def _final(status: int, code: str, message: str, *, retry_after: float | None = None) -> Refusal:
    """A response that tells OpenAI's and Anthropic's libraries not to retry, because the client has done so."""
    return Refusal(
        status, code, message, origin="autoscaler", retry_after=retry_after, headers=((b"X-Should-Retry", b"false"),)
    )


def _retry_after(head: ResponseHead) -> float:
    """The seconds of a Retry-After, up to a limit."""
    for name, value in head.headers:
        if name.lower() == b"retry-after" and value.isdigit() and len(value) <= 6:
            return min(float(value), _RETRY_AFTER_MAX_SECONDS)
    return 0.0
