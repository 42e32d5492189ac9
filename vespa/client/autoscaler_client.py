"""Asks one autoscaler for workers of one endpoint, for all searches together."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable
from itertools import islice
from typing import Final, Protocol

from attrs import define, field
from twisted.logger import Logger

from vespa.client.endpoint_key import EndpointKey
from vespa.http.coarse_timer import CoarseTimer
from vespa.http.connection_pool import ConnectionPool
from vespa.protocol.refusal import Refusal
from vespa.proxy.app import draining
from vespa.runtime.ratelimited_log import RateLimitedLog
from vespa.transport.origin import Origin
from vespa.vast.assignment import one_line, seconds_before

ASK_SECONDS: Final = 10.0  # the time limit for one response of the autoscaler
POLLS_PER_SECOND: Final = 50.0  # the approximate maximum rate at which all waiting searches together ask the autoscaler
WELL_SECONDS: Final = 10.0  # after so long without a failure, the autoscaler counts as healthy again
REPLAY_SECONDS: Final = 60.0  # the time for which the autoscaler keeps a request's index (`replay_timeout`)


class Search(Protocol):
    """A search for a worker: a `WorkerSearch`. `began_at` is in seconds of the clock."""

    began_at: float

    def refuse(self, refusal: Refusal) -> None:
        """End the search without a worker."""


@define(eq=False, slots=False)
class AutoscalerClient:
    """
    Asks one autoscaler for workers of one endpoint.

    `on_wait` is called with the status and the seconds of the search that has lasted longest, and with ("", 0.0) when
    no search waits any more.
    """

    log = Logger()

    _origin: Origin
    pool: ConnectionPool
    key: EndpointKey
    timer: CoarseTimer
    random: Callable[[], float]
    _on_wait: Callable[[str, float], None] | None = None
    searching: set[Search] = field(factory=set, init=False)
    # A plain dict is slow to find its first key after many were taken from its front.
    _waiting: OrderedDict[Search, str] = field(factory=OrderedDict, init=False)
    responses = 0  # calls since the start that the autoscaler answered as it should
    failures = 0  # calls since the start that failed
    trouble = ""  # why the last call failed; "" if it did not
    _failed_at = 0.0
    _unwell = False

    def __attrs_post_init__(self) -> None:
        origin = self._origin
        self._start = b"POST %b/route/ HTTP/1.1\r\nHost: %b\r\n" % (origin.path_prefix, origin.host_field)
        self._limited_log = RateLimitedLog(self.log, self.timer.clock)

    @property
    def waiting(self) -> int:
        """The number of searches that wait for a worker."""
        return len(self._waiting)

    @property
    def waits_since(self) -> float | None:
        """The time since which the oldest waiting search has lasted; None if none waits."""
        return next(iter(self._waiting)).began_at if self._waiting else None

    def oldest_waiting(self, most: int) -> list[tuple[float, str]]:
        """The times at which the oldest waiting searches began, and the autoscaler's last word to each."""
        return [(search.began_at, status) for search, status in islice(self._waiting.items(), most)]

    def question(self, key: str, cost: float, request_idx: int) -> bytes:
        """The whole request that asks for a worker."""
        body = (
            f'{{"endpoint":{json.dumps(self.key.name)},"api_key":{json.dumps(key)},"cost":{cost!r},'
            f'"request_idx":{request_idx},"replay_timeout":{REPLAY_SECONDS}}}'
        ).encode()
        return b"%bAuthorization: Bearer %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
            self._start,
            key.encode("utf-8"),
            len(body),
            body,
        )

    def dismiss(self) -> None:
        """Refuse all searches."""
        for search in list(self.searching):
            search.refuse(draining())

    def waits(self, search: Search, status: str) -> None:
        """A search continues to wait."""
        self._waiting[search] = status
        if self._on_wait is not None:
            oldest = next(iter(self._waiting))
            self._on_wait(self._waiting[oldest], self.timer.clock.seconds() - oldest.began_at)

    def waits_no_more(self, search: Search) -> None:
        """A search has ended."""
        if self._waiting.pop(search, None) is not None and not self._waiting and self._on_wait is not None:
            self._on_wait("", 0.0)

    def note(self, trouble: str | None) -> None:
        """
        Count a call of the autoscaler, which failed because of `trouble` unless this is None.

        Log failures at intervals, and the recovery. Some failures may come between successes.
        """
        if trouble is None:
            self.responses += 1
        else:
            self.failures += 1
        self.trouble = self.cleaned(trouble or "")
        now = self.timer.clock.seconds()
        if trouble is not None:
            self._unwell, self._failed_at = True, now
            self._limited_log.log("autoscaler", f"a call of the autoscaler failed: {trouble}")
        elif self._unwell and now - self._failed_at >= WELL_SECONDS:
            self._unwell = False
            self.log.info("calls of the autoscaler succeed again")

    def cleaned(self, text: str) -> str:
        """A text of the autoscaler's as one short line, with keys hidden."""
        return one_line(self.key.hidden_in(text))

    def seconds_before(self, poll: int) -> float:
        """The seconds for which a search waits before it asks again."""
        return max(seconds_before(poll, self.random), self.turn_seconds())

    def turn_seconds(self) -> float:
        """The minimum time between two requests of one search, so that many searches take turns."""
        turn = len(self._waiting) / POLLS_PER_SECOND * (0.5 + self.random())
        return min(turn, REPLAY_SECONDS / 2)  # later, the autoscaler would have dropped the request's index
