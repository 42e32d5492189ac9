"""The client's part of the status document: the endpoint, its workers, and the searches that wait for one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import field, frozen
from twisted.internet.interfaces import IReactorTime

from vespa.accounting.fair_queue import FairQueue
from vespa.client.autoscaler_client import AutoscalerClient
from vespa.client.jobs import Jobs
from vespa.client.sessions.sessions import Sessions
from vespa.client.sessions.table import ClientSession
from vespa.client.worker_pools import Worker, WorkerPools
from vespa.http.server import Server
from vespa.observability.status import STOPPING, Subject
from vespa.runtime.state_changes import StateChanges

SHOWN_WORKERS: Final = 8
SHOWN_SEARCHES: Final = 5
SHOWN_SESSIONS: Final = 8
"""The numbers of workers, searches and sessions in the document: the oldest searches, of the others those used last."""
FAILING_SECONDS: Final = 30.0
"""For so long after a failure, a worker counts as failing."""
_TROUBLE_MAX: Final = 200  # characters


@frozen(kw_only=True, eq=False)
class ClientStatus:
    """
    Reads the parts of a client when it is asked.

    Its state is `ready`, `searching` while requests wait for a worker, or `errored` while the autoscaler fails or
    rejects the endpoint's key. It is looked at once a second. `url` returns the address for callers, or "".
    """

    clock: IReactorTime
    autoscaler: AutoscalerClient
    workers: WorkerPools
    sessions: Sessions
    jobs: Jobs
    gate: FairQueue[Any]
    server: Server
    autoscaler_url: str
    url: Callable[[], str] = lambda: ""

    states: StateChanges = field(factory=StateChanges, init=False)
    kind = "client"
    figures: tuple[str, ...] = (
        "requests_in_flight",
        "requests_queued",
        "searches_waiting",
        "longest_search_seconds",
        "workers_known",
    )

    def __attrs_post_init__(self) -> None:
        self._look()

    def measure(self) -> Mapping[str, float | None]:
        """The figures of this second. It also looks whether the state has changed."""
        self._look()
        return self._figures()

    def _figures(self) -> dict[str, float | None]:
        since = self.autoscaler.waits_since
        return {
            "requests_in_flight": self.gate.working,
            "requests_queued": self.gate.waiting,
            "searches_waiting": self.autoscaler.waiting,
            "longest_search_seconds": 0.0 if since is None else max(0.0, self.clock.seconds() - since),
            "workers_known": len(self.workers.all()),
        }

    def _look(self) -> None:
        autoscaler = self.autoscaler
        if autoscaler.trouble:
            state, reason = "errored", f"the autoscaler does not help: {autoscaler.trouble}"
        elif autoscaler.waiting:
            status = autoscaler.oldest_waiting(1)[0][1]
            state, reason = "searching", "no worker is free" + (f": {status}" if status else "")
        else:
            state, reason = "ready", ""
        self.states.enter(self.clock.seconds(), state, reason)

    def facts(self) -> dict[str, Any]:
        """The client's members of the document."""
        now = self.clock.seconds()
        known = list(self.workers.all().items())
        sessions = self.sessions.table.sessions
        searches = self.autoscaler.oldest_waiting(SHOWN_SEARCHES)
        return {
            **self._figures(),
            "endpoint": self.autoscaler.key.name,
            "url": self.url(),
            "autoscaler_url": self.autoscaler_url,
            "autoscaler_responses_total": self.autoscaler.responses,
            "autoscaler_failures_total": self.autoscaler.failures,
            "autoscaler_trouble": self.autoscaler.trouble,
            "key_fetched": bool(self.autoscaler.key.value),
            "queue_limit": self.gate.max_queue,
            "concurrency_limit": self.gate.max_concurrency,
            "client_connections": len(self.server.connections),
            "workers": [_worker(url, worker, now) for url, worker in reversed(known[-SHOWN_WORKERS:])],
            "sessions_known": len(sessions),
            "sessions_limit": self.sessions.table.limit,
            "sessions": [_session(each) for each in self.sessions.table.newest(SHOWN_SESSIONS)],
            "jobs_known": len(self.jobs.jobs),
            "searches": [{"since_at": began_at, "status": status} for began_at, status in searches],
            "problems": [{"severity": "warning", "text": STOPPING}] if self.server.draining else [],
        }


_check: type[Subject] = ClientStatus


def _session(session: ClientSession) -> dict[str, Any]:
    """`state` is `opening` or `open`. Its name is not shown: whoever knows it can use the session."""
    return {
        "state": "opening" if session.opening is not None else "open",
        "worker_url": session.worker_url,
        "requests_total": session.requests,
        "since_at": session.began_at,
        "used_at": session.used_at,
    }


def _worker(url: str, worker: Worker, now: float) -> dict[str, Any]:
    """`state` is `busy` (has requests), `failing` (a request failed there a moment ago) or `idle`."""
    size, idle = worker.pool.size, worker.pool.idle
    if worker.failed_at and now - worker.failed_at < FAILING_SECONDS:
        state = "failing"
    else:
        state = "busy" if size > idle else "idle"
    return {
        "url": url,
        "state": state,
        "requests_in_flight": size - idle,
        "connections_open": size,
        "requests_total": worker.requests,
        "failures_total": worker.failures,
        "failed_at": worker.failed_at or None,
        "trouble": worker.trouble[:_TROUBLE_MAX],
    }
