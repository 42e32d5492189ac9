"""The selector of a proxy that has one upstream."""

from __future__ import annotations

from vespa.http.connection_pool import ConnectionPool
from vespa.http.interfaces import UpstreamError
from vespa.protocol.response_head import ResponseHead
from vespa.proxy.exchange import Exchange
from vespa.proxy.interfaces import UpstreamSelector


class OneUpstream:
    """Every request goes to the same pool, and to no other."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool

    def select(self, exchange: Exchange) -> ConnectionPool:
        """The pool, at once."""
        return self._pool

    def next_upstream(self, exchange: Exchange, failure: UpstreamError | ResponseHead) -> bool:
        """There is none."""
        return False

    def abandon(self, exchange: Exchange) -> None:
        """Nothing was looked for."""


_check: type[UpstreamSelector[Exchange]] = OneUpstream
