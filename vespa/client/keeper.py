"""Knows which requests must go to one worker: those inside a session, and those about a job."""

from __future__ import annotations

from vespa.client.caller_fields import Affinity
from vespa.client.interfaces import Keeper
from vespa.client.jobs import Jobs
from vespa.client.sessions import Sessions
from vespa.client.worker_selection import WorkerSelection
from vespa.proxy.exchange import Exchange


class RequestKeeper:
    """Asks the sessions first, then the jobs."""

    def __init__(self, sessions: Sessions, jobs: Jobs) -> None:
        self._sessions = sessions
        self._jobs = jobs

    def selection(self, exchange: Exchange, affinity: Affinity | None) -> WorkerSelection | None:
        """The selection of a request that is tied to one worker; None for any other. Raises `Refusal`."""
        if affinity is not None and affinity.session is not None:
            return self._sessions.selection(exchange, affinity)
        return self._jobs.selection(exchange, affinity)


_check: type[Keeper] = RequestKeeper
