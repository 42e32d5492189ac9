"""Knows which requests must go to one worker: those inside a session, and those about a job."""

from __future__ import annotations

from vespa.client.caller_fields import PinFields
from vespa.client.interfaces import Pinning
from vespa.client.jobs import Jobs
from vespa.client.sessions.sessions import Sessions
from vespa.client.worker_selection import WorkerSelection
from vespa.proxy.exchange import Exchange


class RequestPinning:
    """Asks the sessions first, then the jobs."""

    def __init__(self, sessions: Sessions, jobs: Jobs) -> None:
        self._sessions = sessions
        self._jobs = jobs

    def selection(self, exchange: Exchange, pin_fields: PinFields | None) -> WorkerSelection | None:
        """The selection of a request that is pinned to one worker; None for any other. Raises `Refusal`."""
        if pin_fields is not None and pin_fields.session is not None:
            return self._sessions.selection(exchange, pin_fields)
        return self._jobs.selection(exchange, pin_fields)


_check: type[Pinning] = RequestPinning
