"""Where to ask for workers: one autoscaler, one endpoint, and what all searches there share."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from vespa.client.endpoint_key import EndpointKey
from vespa.http.origin import Origin
from vespa.http.pool import Pool
from vespa.http.sweep import Sweeper

if TYPE_CHECKING:
    from vespa.client.search import Search

ASK_SECONDS: Final = 10.0
"""How long the autoscaler may take to answer once."""
REPLAY_SECONDS: Final = 60.0
"""For how long the autoscaler is to know a request by its index (`replay_timeout`)."""


class Router:
    """
    Asks one autoscaler about one endpoint.

    `on_wait` hears of the search that has taken longest, its status and seconds; ("", 0.0) when none waits any more.
    """

    log = Logger()

    def __init__(
        self,
        origin: Origin,
        pool: Pool,
        key: EndpointKey,
        sweeper: Sweeper,
        *,
        random: Callable[[], float],
        on_wait: Callable[[str, float], None] | None = None,
    ) -> None:
        self.pool = pool
        self.key = key
        self.sweeper = sweeper
        self.random = random
        self._start = b"POST %b/route/ HTTP/1.1\r\nHost: %b\r\n" % (origin.path_prefix, origin.host_field)
        self._on_wait = on_wait
        self._waiting: dict[Search, str] = {}
        self._unwell = False

    @property
    def clock(self) -> IReactorTime:
        return self.sweeper.clock

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

    def waits(self, search: Search, status: str) -> None:
        """A search goes on."""
        self._waiting[search] = status
        if self._on_wait is not None:
            oldest = next(iter(self._waiting))
            self._on_wait(self._waiting[oldest], self.clock.seconds() - oldest.began_at)

    def waits_no_more(self, search: Search) -> None:
        """A search is over."""
        if self._waiting.pop(search, None) is not None and not self._waiting and self._on_wait is not None:
            self._on_wait("", 0.0)

    def note(self, trouble: str | None) -> None:
        """Log when the autoscaler begins to fail and when it is well again, not each time."""
        if trouble is not None and not self._unwell:
            self.log.warn("the autoscaler does not work: {trouble}", trouble=trouble)
        elif trouble is None and self._unwell:
            self.log.info("the autoscaler works again")
        self._unwell = trouble is not None
