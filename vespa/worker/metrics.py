"""The metrics that only a worker has, read from its parts when they are asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final

from attrs import frozen

from vespa.accounting.fair_queue import FairQueue
from vespa.accounting.ledger import Ledger
from vespa.accounting.workload import from_micros
from vespa.observability.ended_requests import EndedRequests
from vespa.observability.metric import Reading, counter, gauge
from vespa.observability.metrics import Metrics
from vespa.observability.proxy_metrics import ProxyParts, limit, proxy_readings
from vespa.observability.request_metrics import RequestMetrics
from vespa.proxy.exchange import Exchange
from vespa.transport.certificates import Certificate
from vespa.worker.admission import WorkerAdmission
from vespa.worker.backends.metrics import affinity_readings, backend_readings
from vespa.worker.engine.metrics import engine_readings
from vespa.worker.keyring import Keyring
from vespa.worker.optional_parts import OptionalParts
from vespa.worker.readiness.history import Readiness
from vespa.worker.reporter import Reporter
from vespa.worker.sessions.metrics import session_readings
from vespa.worker.usage.metrics import usage_readings

STATES: Final = ("loading", "benchmarking", "ready", "suspect", "errored")
"""The states of the readiness monitor."""

EXPECTED: Final = (
    *(("refused", code, "vespa") for code in ("busy", "queue_full", "queue_timeout", "not_ready", "draining")),
    ("refused", "no_key", "vespa"),
    *(("refused", code, "client") for code in ("bad_signature", "wrong_url", "replayed", "in_flight")),
    *(
        ("failed", code, "backend")
        for code in ("backend_unreachable", "backend_timeout", "no_reply", "truncated_reply", "bad_reply")
    ),
    *(("failed", f"{what}_timeout", "backend") for what in ("first_byte", "idle", "total")),
    ("served", "", ""),
    ("unserved", "", "backend"),
    ("cancelled", "", "client"),
)
"""How requests of a worker usually end: outcome, code, origin. These are counted from 0."""

STATE: Final = gauge("vespa_state", "1 for the state that the worker is in, 0 for the others.", "state")
STARTUP: Final = gauge("vespa_startup_seconds", "Time from the start to the first ready; 0 before it.")
WORKLOAD: Final = counter(
    "vespa_workload_total",
    "Work of requests in units of cost: received (admitted), served, rejected, cancelled by the caller.",
    "kind",
)
WORKLOAD_IN_FLIGHT: Final = gauge("vespa_workload_in_flight", "Work of all admitted requests, in units of cost.")
ESTIMATED_WAIT: Final = gauge(
    "vespa_estimated_wait_seconds", "Time that the work in flight takes at the measured throughput; none before it."
)
ESTIMATED_WAIT_LIMIT: Final = gauge(
    "vespa_estimated_wait_limit_seconds", "The estimated wait above which requests get 429; +Inf without a limit."
)
THROUGHPUT: Final = gauge(
    "vespa_benchmark_throughput", "Units of cost that the backend does in a second, as measured; 0 before it."
)
CONCURRENCY: Final = gauge(
    "vespa_benchmark_concurrency", "Requests at once at which that was measured; 0 if it is not known."
)
SIGNATURE_FAILURES: Final = counter(
    "vespa_signature_failures_total",
    "Requests without a valid assignment, by reason; replayed ones may have passed, if VESPA_REPLAY is warn.",
    "reason",
)
HAS_KEY: Final = gauge(
    "vespa_public_key_known", "1 if the worker has the autoscaler's public key, 0 if not; none if it needs none."
)
REPORTS: Final = counter(
    "vespa_reports_total", "Reports of the worker's status: delivered to the autoscaler, or failed.", "result"
)
COMPLETION_REPORTS: Final = counter(
    "vespa_completion_reports_total", "Reports of finished requests: delivered to the autoscaler, or failed.", "result"
)
UNDELIVERED: Final = gauge(
    "vespa_oldest_undelivered_seconds", "Age of the oldest change that the autoscaler has not received; 0 if none."
)
PENDING: Final = gauge("vespa_completions_pending", "Finished requests that the autoscaler has not received.")
DROPPED: Final = counter(
    "vespa_completions_dropped_total", "Finished requests that will not be reported: too many were pending."
)
CERTIFICATE: Final = gauge(
    "vespa_certificate_expiry_timestamp_seconds",
    "When the certificate of the worker's port expires, in epoch seconds; none without a certificate.",
)


@frozen(kw_only=True)
class WorkerSources:
    """
    What the worker's metrics are read from. `seconds` returns the time.

    `keyring` is None if requests need no signature, `reporter` without reports, and `certificate` without one of the
    worker's own.
    """

    admission: WorkerAdmission
    readiness: Readiness
    keyring: Keyring | None
    reporter: Reporter | None
    certificate: Certificate | None
    seconds: Callable[[], float]
    optional: OptionalParts = OptionalParts()


def worker_metrics(sources: WorkerSources, parts: ProxyParts, ended: EndedRequests) -> Metrics:
    """All metrics of a worker."""
    requests = RequestMetrics(EXPECTED)
    ended.subscribe(requests.take)
    return Metrics([*requests.readings(), *proxy_readings(parts), *worker_readings(sources)], ended.flush)


def worker_readings(sources: WorkerSources) -> list[Reading]:
    """The metrics that only a worker has."""
    admission, readiness, keyring, reporter = sources.admission, sources.readiness, sources.keyring, sources.reporter
    gate, ledger, optional = admission.gate, admission.ledger, sources.optional

    def signature_failures() -> Mapping[str, float]:
        return {
            "bad_signature": keyring.bad_signatures if keyring else 0,
            "no_key": keyring.without_key if keyring else 0,
            "wrong_url": admission.wrong_urls,
            "replayed": admission.replays,
        }

    return [
        Reading(STATE, lambda: {state: int(state == readiness.state) for state in STATES}),
        Reading(STARTUP, lambda: readiness.condition().loadtime),
        Reading(WORKLOAD, lambda: workload(ledger)),
        Reading(WORKLOAD_IN_FLIGHT, lambda: from_micros(ledger.load)),
        Reading(ESTIMATED_WAIT, lambda: estimated_wait(gate, ledger)),
        Reading(ESTIMATED_WAIT_LIMIT, lambda: limit(gate.max_wait_seconds)),
        Reading(THROUGHPUT, lambda: benchmark(sources)),
        Reading(CONCURRENCY, lambda: getattr(benchmark(sources), "concurrency", 0)),
        *usage_readings(optional.usage, optional.recalibration),
        Reading(SIGNATURE_FAILURES, signature_failures),
        Reading(HAS_KEY, lambda: int(keyring.has_key) if keyring else None),
        Reading(
            REPORTS,
            lambda: _results(reporter.reports_delivered, reporter.reports_failed) if reporter else _results(0, 0),
        ),
        Reading(
            COMPLETION_REPORTS,
            lambda: _results(reporter.deletes_delivered, reporter.deletes_failed) if reporter else _results(0, 0),
        ),
        Reading(UNDELIVERED, lambda: undelivered(reporter, sources.seconds())),
        Reading(PENDING, lambda: len(ledger.pending_deletes)),
        Reading(DROPPED, lambda: ledger.dropped_deletes),
        *backend_readings(optional.backends),
        *affinity_readings(optional.affinity),
        Reading(CERTIFICATE, lambda: _expiry(sources.certificate)),
        *engine_readings(optional.aborts, optional.jobs, optional.polls),
        *session_readings(optional.sessions),
    ]


def benchmark(sources: WorkerSources) -> float:
    """The benchmark's figure, since the worker is ready. The gate's may be an estimate."""
    throughput, recalibration = sources.admission.gate.throughput, sources.optional.recalibration
    return recalibration.benchmark if recalibration is not None and throughput else throughput


def workload(ledger: Ledger) -> Mapping[str, float]:
    """The work since the start, in units of cost. None of these ever falls."""
    totals = ledger.snapshot().totals
    return {
        "received": from_micros(ledger.received_work),
        "served": from_micros(totals.served),
        "rejected": from_micros(totals.rejected),
        "cancelled": from_micros(ledger.cancelled_work),
    }


def estimated_wait(gate: FairQueue[Exchange], ledger: Ledger) -> float | None:
    """The seconds until the backend has done the work in flight; None before its throughput is known."""
    return gate.estimated_wait(ledger.backend_load) if gate.throughput > 0 else None


def undelivered(reporter: Reporter | None, now: float) -> float:
    """The seconds since the oldest change that was not delivered; 0.0 if there is none, or no reports."""
    since = reporter.undelivered_since if reporter is not None else None
    return max(0.0, now - since) if since is not None else 0.0


def _results(delivered: int, failed: int) -> Mapping[str, float]:
    return {"delivered": delivered, "failed": failed}


def _expiry(certificate: Certificate | None) -> float | None:
    return certificate.ends if certificate is not None and math.isfinite(certificate.ends) else None
