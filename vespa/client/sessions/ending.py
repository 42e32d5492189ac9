"""Ends a session at its worker."""

from __future__ import annotations

import json
from typing import Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from vespa.client.sessions.table import ClientSession
from vespa.client.worker_pools import Worker
from vespa.http.coarse_timer import CoarseTimer
from vespa.http.fetch import Fetch
from vespa.http.interfaces import UpstreamError
from vespa.protocol.response_head import ResponseHead

END_SECONDS: Final = 10.0
"""The time limit for a worker's answer to `/session/end`, as in Vast's own client."""
_KNOWN: Final = frozenset((400, 410))  # it has ended already


class SessionEnding:
    """
    One `POST /session/end`.

    `done` fires with None when the worker has answered, or has not in time. It may be cancelled, and then fires too.
    """

    log = Logger(namespace="vespa.client")

    def __init__(self, session: ClientSession, worker: Worker, timer: CoarseTimer) -> None:
        self.done: Deferred[None] = Deferred(lambda _: self.cancel())
        self.is_done = False
        self._fetch: Fetch | None = None
        assert session.assignment is not None
        session_id = json.dumps(session.id).encode("ascii")
        body = b'{"session_id":%b,"session_auth":%b}' % (session_id, session.assignment.auth_data)
        fetch = Fetch(worker.pool, timer, worker.post(b"/session/end", body), self, seconds=END_SECONDS)
        if not self.is_done:
            self._fetch = fetch

    def cancel(self) -> None:
        """Wait no longer."""
        fetch, self._fetch = self._fetch, None
        if fetch is not None:
            fetch.cancel()
        self._finish("")

    def completed(self, head: ResponseHead, body: bytes) -> None:
        """The worker has answered."""
        ended = 200 <= head.status < 300 or head.status in _KNOWN
        self._finish("" if ended else f"it answered {head.status}")

    def failed(self, error: UpstreamError) -> None:
        """The worker has not answered."""
        self._finish(str(error))

    def _finish(self, trouble: str) -> None:
        if self.is_done:
            return
        self.is_done = True
        if trouble:
            why = "the worker of a session did not end it: {trouble}. It ends when its lifetime is over"
            self.log.info(why, trouble=trouble)
        self.done.callback(None)
