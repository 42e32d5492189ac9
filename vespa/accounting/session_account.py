"""The account of a session, which holds work for itself beside the requests inside it."""

from __future__ import annotations

from vespa.accounting.ledger import Ledger
from vespa.accounting.lifecycle import CONNECTING, READING, State


class SessionAccount:
    """
    A session, as an entry of the ledger: it is counted like a request that is at the backend from its begin to its end.

    Its work is in the ledger's `load`, and in `session_load` so that it is left out of the wait estimate. It is served
    at the end, and leaves one delete record, a success. Vast's own worker counts sessions in this way
    (`vastai` 1.9.1, `serverless/server/lib/metrics.py`).
    """

    freed = 0
    measured: int | None = None
    first_byte_at = ended_at = 0.0

    def __init__(self, ledger: Ledger, request_idx: int | None, work: int, now: float) -> None:
        """Begin the account. `work` is in millionths, `now` in epoch seconds."""
        self.state: State = READING
        self.request_idx: int | None = None
        self.work = 0
        self.received_at = self.started_at = 0.0
        self._ledger = ledger
        ledger.start(self, request_idx, work, now)
        ledger.session_load += work

    def end(self, now: float) -> None:
        """The session has ended. A second end changes nothing."""
        if self.state is CONNECTING:
            self._ledger.finish(self, True, now)
            self._ledger.session_load -= self.work
