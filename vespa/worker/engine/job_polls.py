"""
Requests for the state and result of a job, by the caller who began it: with the same assignment, and free.

Such a poll needs no slot, adds no work, leaves no delete record, and does not use up its assignment. The same holds for
a request that cancels the job while it is under way: if it needed a slot, it would wait for the one that the job has.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from vespa.engines.interface import JobKind
from vespa.engines.paths import decoded_path
from vespa.protocol.refusal import Refusal
from vespa.protocol.request_head import RequestHead
from vespa.proxy.exchange import Exchange
from vespa.vast.auth import Auth

_METHODS: Final = frozenset((b"GET", b"HEAD"))
BURST: Final = 100
"""Polls that may come at once, for one job: it may have many pictures."""
RATE: Final = 10.0
"""Polls a second that may follow."""
AT_ONCE: Final = 16
"""Polls of one job that are at the backend at the same time."""
MOST: Final = 2000
"""Jobs whose polls are known. The oldest that has ended is forgotten first."""

Key = tuple[Any, ...]


@define(eq=False)
class Polls:
    """The polls of one job."""

    key: Key
    tokens: float
    at: float  # when `tokens` was right
    until: float | None = None
    """The end of the time in which polls are free; None while the job is under way."""
    in_flight: int = 0
    jobs: int = 0  # that are under way
    backend: Any = None  # which of several backends has the newest
    cancelled: bool = False
    """Whether the caller's request to cancel the newest has succeeded."""


@define(eq=False, slots=False)
class JobPolls:
    """
    Knows the assignments of jobs, and which requests are polls.

    `seconds`: how long after its end a job's polls are free. `most`: so many jobs are known at most.
    """

    _kind: JobKind
    _clock: IReactorTime
    seconds: float
    most: int = MOST
    count: int = field(default=0, init=False)
    """The number of polls since the start."""
    _known: OrderedDict[Key, Polls] = field(factory=OrderedDict, init=False)
    _jobs: dict[Exchange, Polls] = field(factory=dict, init=False)

    def began(self, exchange: Exchange) -> None:
        """A request began a job."""
        key = _key(exchange.content)
        now = self._clock.seconds()
        polls = self._known.get(key)
        if polls is None:
            if len(self._known) >= self.most:
                self._forget()
            polls = self._known[key] = Polls(key, BURST, now)
        polls.until, polls.cancelled = None, False
        polls.jobs += 1
        polls.backend = exchange.backend
        self._jobs[exchange] = polls

    def ended(self, exchange: Exchange) -> None:
        """The job has ended. Its result may still be fetched."""
        polls = self._jobs.pop(exchange, None)
        if polls is None:
            return
        polls.jobs -= 1
        if not polls.jobs:
            polls.until = self._clock.seconds() + self.seconds
            if self._known.get(polls.key) is polls:
                self._known.move_to_end(polls.key)

    def find(self, head: RequestHead, auth: Auth | None) -> Polls | None:
        """The polls to which a request belongs. None: it is a request like any other."""
        if not self._known or head.upgrade:
            return None
        if head.method in _METHODS:
            if head.chunked or head.has_body:
                return None
            polls = self._known.get(_key(auth))
            if polls is None or not self._kind.is_poll(decoded_path(head.target)):
                return None
        else:
            polls = self._known.get(_key(auth))
            if polls is None or not polls.jobs or not self._is_cancel(head):
                return None
        if polls.until is not None and self._clock.seconds() >= polls.until:
            del self._known[polls.key]
            return None
        return polls

    def _is_cancel(self, head: RequestHead) -> bool:
        return self._kind.is_cancel(head.method.decode("latin-1"), decoded_path(head.target))

    def has_room(self, polls: Polls) -> bool:
        """Whether another one is allowed now."""
        now = self._clock.seconds()
        polls.tokens = min(BURST, polls.tokens + max(0.0, now - polls.at) * RATE)
        polls.at = now
        return polls.tokens >= 1.0 and polls.in_flight < AT_ONCE

    def begin(self, polls: Polls) -> None:
        """Admit one. Raises `Refusal` if there are too many."""
        if not self.has_room(polls):
            message = f"polls of a job are free, so only {RATE:g} a second are allowed, and {AT_ONCE} at once"
            raise Refusal(429, "too_many_polls", message, retry_after=1, origin="client")
        polls.tokens -= 1.0
        polls.in_flight += 1
        self.count += 1

    def succeeded(self, polls: Polls, head: RequestHead) -> None:
        """The backend has answered one with success. Without assignments nobody knows whose job it has cancelled."""
        if head.method not in _METHODS and polls.key:
            polls.cancelled = True

    def is_cancelled(self, exchange: Exchange) -> bool:
        """Whether the caller of this request has cancelled the job that it began."""
        polls = self._jobs.get(exchange)
        return polls is not None and polls.cancelled

    def _forget(self) -> None:
        ended = next((key for key, polls in self._known.items() if polls.until is not None), None)
        del self._known[ended if ended is not None else next(iter(self._known))]


def _key(auth: Auth | None) -> Key:
    """
    What names the job of a request: all that the autoscaler signed but the cost, with the signature.

    Whoever repeats these has the caller's assignment, which was verified. A poll needs no look at its cost.
    """
    return () if auth is None else (auth.signature, auth.request_idx, auth.reqnum, auth.endpoint, auth.url)
