"""
Finding a worker for one request: the autoscaler is asked, and asked again while it has none.

A search ends with an assignment, with a refusal, or because nobody wants it any more. A request that goes to another
worker searches again: under its own index where the worker never answered, so that the autoscaler knows it for the same
one; under a new one where it did, since that worker has told the autoscaler what became of the old.
"""

from __future__ import annotations

import json
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from vespa.client.autoscaler_client import ASK_SECONDS, AutoscalerClient
from vespa.client.console import ConsoleError
from vespa.http.fetch import Fetch
from vespa.http.interfaces import UpstreamError
from vespa.protocol.refusal import Refusal
from vespa.protocol.response_head import ResponseHead
from vespa.vast.assignment import Assignment, BadRouteResponse, read_route_response

_RETRY_MAX_SECONDS: Final = 5.0
_RETRY_AFTER_MAX_SECONDS: Final = 30.0
_AGAIN: Final = frozenset((408, 425, 429))


class SearchListener(Protocol):
    """Who hears what comes of a search."""

    def found(self, assignment: Assignment) -> None:
        """Here is one."""

    def not_found(self, refusal: Refusal) -> None:
        """There is none, and the search is over."""

    def still_waiting(self, status: str, seconds: float) -> None:
        """The search has taken so long, and goes on."""


class WorkerSearch:
    """
    The search of one request, from its first question to its last. `cost` is in Vast's units.

    It has no deadline of its own: `give_up` is for whoever watches the clock.
    """

    _pending: Fetch | IDelayedCall | Deferred[Any] | None = None  # a question, a wait, or a look-up of the key
    _polls = 0
    _failures = 0
    _asked_with = ""
    _key_refreshed = False
    _status = ""
    _listener: SearchListener | None = None  # nobody while nothing is looked for

    def __init__(self, autoscaler: AutoscalerClient, cost: float, began_at: float) -> None:
        """`began_at` is when the request came: from then on it waits."""
        self._autoscaler = autoscaler
        self._cost = cost
        self._request_idx = 0
        self.began_at = began_at

    def begin(self, listener: SearchListener, delay: float = 0.0, *, anew: bool = False) -> None:
        """
        Ask, after so many seconds; `listener` hears what comes of it.

        `anew`: as a new request, whatever was assigned to it before.
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
        """It is not wanted any more. Returns the listener, which hears nothing."""
        listener = self._end()
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.cancel()
        return listener

    def give_up(self, seconds: float) -> None:
        """The time is up: say how far it got."""
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
            self._autoscaler.log.failure("the endpoint's key could not be looked up", failure)
            self.refuse(Refusal(500, "internal_error", "the proxy failed; its log says why"))
        elif error.final:
            self.refuse(Refusal(401, "no_endpoint_key", str(error), origin="console"))
        else:
            self._again_after_failure(str(error))

    def _ask_with(self, key: str) -> None:
        autoscaler = self._autoscaler
        self._asked_with = key
        question = autoscaler.question(key, self._cost, self._request_idx)
        fetch = Fetch(autoscaler.pool, autoscaler.timer, question, self, seconds=ASK_SECONDS)
        if self._pending is None:  # else it has failed by now, and the next one waits
            self._pending = fetch

    def completed(self, head: ResponseHead, body: bytes) -> None:
        """The autoscaler's response."""
        self._pending = None
        status = head.status
        if status == 200:
            self._read(body)
        elif status == 401 or status == 403:
            self._key_refused(status)
        elif status in _AGAIN or status >= 500:
            self._again_after_failure(f"it answered {status}", _retry_after(head))
        else:
            reason = self._autoscaler.cleaned(_reason(body)) or "nothing"
            message = f"the autoscaler refused to route: it answered {status}: {reason}; `--list` shows the endpoints"
            self.refuse(_final(502, "route_refused", message))

    def failed(self, error: UpstreamError) -> None:
        """The autoscaler did not answer."""
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
        # A key that was looked up may have been replaced since: once, it is looked up anew.
        key = self._autoscaler.key
        if not self._key_refreshed:
            self._key_refreshed = True
            if key.value != self._asked_with:
                self._ask()  # another search has found a new one meanwhile
                return
            if key.may_look_up():
                self._find_key()
                return
        message = (
            f"the autoscaler does not take the endpoint's key: it answered {status}. "
            "An account's key is another one: give it as VAST_ACCOUNT_KEY or --account-key"
        )
        self.refuse(_final(401, "bad_endpoint_key", message))

    # -- waiting

    def _again_after_failure(self, trouble: str, retry_after: float = 0.0) -> None:
        self._autoscaler.note(trouble)
        self._failures += 1
        self._status = trouble
        growing = min(0.25 * 2.0 ** min(self._failures, 6), _RETRY_MAX_SECONDS)
        autoscaler = self._autoscaler
        # Spread upwards: those that were told the same time are not to come back all at once.
        told = retry_after * (1.0 + autoscaler.random() / 2)
        seconds = max(growing * (0.5 + autoscaler.random() / 2), told, autoscaler.turn_seconds())
        self._wait(seconds, f"the autoscaler fails: {trouble}")

    def _wait(self, seconds: float, status: str) -> None:
        autoscaler = self._autoscaler
        autoscaler.waits(self, status)
        self._later(seconds)
        if self._listener is not None:
            self._listener.still_waiting(status, autoscaler.clock.seconds() - self.began_at)

    def _later(self, seconds: float) -> None:
        self._pending = self._autoscaler.clock.callLater(seconds, self._ask)

    # -- ends

    def _end(self) -> SearchListener | None:
        listener, self._listener = self._listener, None
        self._autoscaler.searching.discard(self)
        self._autoscaler.waits_no_more(self)
        return listener

    def refuse(self, refusal: Refusal) -> None:
        """It is over, without a worker; the listener is told."""
        listener = self.cancel()
        if listener is not None:
            listener.not_found(refusal)


def _final(status: int, code: str, message: str, *, retry_after: float | None = None) -> Refusal:
    """A response that says to OpenAI's and Anthropic's libraries that they need not try again: that was done here."""
    return Refusal(
        status, code, message, origin="autoscaler", retry_after=retry_after, headers=((b"X-Should-Retry", b"false"),)
    )


def _retry_after(head: ResponseHead) -> float:
    """The seconds that a Retry-After asks for, within reason."""
    for name, value in head.headers:
        if name.lower() == b"retry-after" and value.isdigit() and len(value) <= 6:
            return min(float(value), _RETRY_AFTER_MAX_SECONDS)
    return 0.0


def _reason(body: bytes) -> str:
    """What an error of the autoscaler's says."""
    try:
        said = json.loads(body[:4096])
        text = said.get("error") if isinstance(said, dict) else None
    except (ValueError, RecursionError):
        text = None
    return text if isinstance(text, str) else body[:400].decode("utf-8", "replace")
