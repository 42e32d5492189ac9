"""The metrics that only a client proxy has, read from its parts when they are asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from attrs import frozen

from vespa.client.autoscaler_client import AutoscalerClient
from vespa.client.jobs import Jobs
from vespa.client.sessions.sessions import RESULTS, Sessions
from vespa.client.worker_pools import WorkerPools
from vespa.client.worker_selection import WorkerSelector
from vespa.observability.ended_requests import EndedRequest, EndedRequests
from vespa.observability.metric import Reading, counter, gauge
from vespa.observability.metrics import Metrics
from vespa.observability.proxy_metrics import ProxyParts, proxy_readings
from vespa.observability.request_metrics import RequestMetrics
from vespa.observability.request_record import OUTCOMES

RETRIED: Final = (
    "worker_unreachable",
    "worker_timeout",
    "no_reply",
    "busy",
    "not_ready",
    "backend_unreachable",
    "first_token_timeout",
)
"""The usual codes after which the client goes to another worker. These are counted from 0."""

EXPECTED: Final = (
    *(("failed", code, "autoscaler") for code in ("no_worker", "autoscaler_unavailable", "route_refused")),
    *(("failed", code, "worker") for code in ("worker_unreachable", "worker_timeout", "no_reply", "truncated_reply")),
    *(("refused", code, "vespa") for code in ("queue_full", "too_many_requests", "draining")),
    ("served", "", ""),
    ("unserved", "", "worker"),
    ("cancelled", "", "client"),
)
"""How requests of a client usually end: outcome, code, origin. These are counted from 0."""

SEARCHES: Final = gauge("vespa_client_searches", "Requests that ask the autoscaler for a worker now, or wait for one.")
WAITING: Final = gauge("vespa_client_searches_waiting", "Searches to which the autoscaler has said to wait.")
OLDEST: Final = gauge("vespa_client_oldest_search_seconds", "Time for which the oldest waiting search has lasted.")
AUTOSCALER_CALLS: Final = counter(
    "vespa_client_autoscaler_calls_total", "Calls of the autoscaler: answered, or failed.", "result"
)
ATTEMPTS: Final = counter(
    "vespa_client_attempts_total",
    "Requests sent to a worker: how the last attempt ended, or the error after which another worker was asked.",
    "result",
)
WORKERS: Final = gauge("vespa_client_workers", "Workers whose addresses the client has from the autoscaler.")
SESSIONS: Final = gauge("vespa_client_sessions", "Sessions that the client keeps, or opens now.")
SESSIONS_TOTAL: Final = counter(
    "vespa_client_sessions_total",
    "Sessions: opened or refused; ended by their owner, replaced by a newer one, or lost at their worker.",
    "result",
)
JOBS: Final = gauge("vespa_client_jobs", "Jobs whose worker the client knows.")
JOBS_TOTAL: Final = counter("vespa_client_jobs_total", "Jobs that were begun through the client.")


@frozen(kw_only=True)
class ClientSources:
    """What the client's metrics are read from. `seconds` returns the time."""

    autoscaler: AutoscalerClient
    selector: WorkerSelector
    workers: WorkerPools
    sessions: Sessions
    jobs: Jobs
    seconds: Callable[[], float]


class ClientMetrics:
    """Counts the last attempts of requests. `take` is a subscriber of `EndedRequests`."""

    def __init__(self, sources: ClientSources) -> None:
        self._sources = sources
        self._last_attempts: Counter[str] = Counter()

    def take(self, batch: Sequence[EndedRequest]) -> None:
        """Requests have ended."""
        self._last_attempts.update([OUTCOMES[ended.state] for ended in batch if ended.upstream_address])

    def readings(self) -> list[Reading]:
        """The metrics that only a client has."""
        autoscaler = self._sources.autoscaler
        return [
            Reading(SEARCHES, lambda: len(autoscaler.searching)),
            Reading(WAITING, lambda: autoscaler.waiting),
            Reading(OLDEST, self._oldest),
            Reading(AUTOSCALER_CALLS, lambda: {"answered": autoscaler.responses, "failed": autoscaler.failures}),
            Reading(ATTEMPTS, self._attempts),
            Reading(WORKERS, lambda: len(self._sources.workers.pools())),
            Reading(SESSIONS, lambda: len(self._sources.sessions.table.sessions)),
            Reading(SESSIONS_TOTAL, lambda: {**dict.fromkeys(RESULTS, 0), **self._sources.sessions.results}),
            Reading(JOBS, lambda: len(self._sources.jobs.jobs)),
            Reading(JOBS_TOTAL, lambda: self._sources.jobs.begun),
        ]

    def _oldest(self) -> float:
        since = self._sources.autoscaler.waits_since
        return max(0.0, self._sources.seconds() - since) if since is not None else 0.0

    def _attempts(self) -> Mapping[str, float]:
        usual = dict.fromkeys((*OUTCOMES.values(), *RETRIED), 0)
        return {**usual, **self._last_attempts, **self._sources.selector.retried}


def client_metrics(sources: ClientSources, parts: ProxyParts, ended: EndedRequests) -> Metrics:
    """All metrics of a client proxy."""
    requests, client = RequestMetrics(EXPECTED), ClientMetrics(sources)
    ended.subscribe(requests.take)
    ended.subscribe(client.take)
    return Metrics([*requests.readings(), *proxy_readings(parts), *client.readings()], ended.flush)
