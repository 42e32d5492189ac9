"""The seams between the parts that find a request's worker, as protocols without logic."""

from __future__ import annotations

from typing import Any, Protocol

from vespa.client.caller_fields import PinFields
from vespa.http.interfaces import UpstreamError
from vespa.protocol.refusal import Refusal
from vespa.protocol.response_head import ResponseHead
from vespa.proxy.exchange import Exchange
from vespa.vast.assignment import Assignment


class SearchListener(Protocol):
    """The receiver of a search's result."""

    def found(self, assignment: Assignment) -> None:
        """The autoscaler has assigned a worker."""

    def not_found(self, refusal: Refusal) -> None:
        """There is no worker, and the search is over."""

    def still_waiting(self, status: str, seconds: float) -> None:
        """The search continues after so many seconds."""


class RequestSearch(Protocol):
    """The search of one request for a worker: a `WorkerSearch`, or what stands in for it."""

    def begin(self, listener: SearchListener, delay: float = 0.0, *, anew: bool = False) -> None:
        """Look for a worker after `delay` seconds, and report the result to `listener`."""

    def cancel(self) -> object:
        """Stop."""

    def give_up(self, seconds: float) -> None:
        """The time is up: refuse."""


class Pinning(Protocol):
    """Knows which requests must go to one worker."""

    def selection(self, exchange: Exchange, pin_fields: PinFields | None) -> Any:
        """The `PinnedSelection` of a request that is pinned to one worker; None for any other. Raises `Refusal`."""


class Pin(Protocol):
    """What pins requests to a worker: a session, or a job."""

    def unreachable(self, error: UpstreamError) -> Refusal:
        """The refusal of a request that its worker did not answer."""

    def answered(self, head: ResponseHead) -> None:
        """The worker has answered, with a response that goes to the caller."""
