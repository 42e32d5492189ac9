"""The worker's part of the status document: the backend, the load, the autoscaler, and what is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from attrs import frozen
from twisted.internet.interfaces import IReactorTime

from vespa.accounting.fair_queue import FairQueue
from vespa.accounting.ledger import Ledger
from vespa.accounting.workload import from_micros
from vespa.http.connection_pool import ConnectionPool
from vespa.http.server import Server
from vespa.observability.status import STOPPING, Subject
from vespa.proxy.upgrade import Tunnels
from vespa.runtime.state_changes import StateChanges
from vespa.transport.certificates import Certificate
from vespa.worker.admission import WorkerAdmission
from vespa.worker.backends.status import affinity_problems, backend_problems, backend_rows
from vespa.worker.keyring import Keyring
from vespa.worker.optional_parts import OptionalParts
from vespa.worker.problems import Problem, autoscaler_problems, certificate_problems, key_problems, load_problems
from vespa.worker.readiness.history import Readiness
from vespa.worker.reporter import Reporter
from vespa.worker.reporting_client import ReportingClient
from vespa.worker.sessions.sessions import COUNTED

LINES: Final = 10
"""The number of lines of the benchmark's output in the document, the newest."""


@frozen(kw_only=True, eq=False)
class WorkerStatus:
    """
    Reads the parts of a worker when it is asked.

    `keyring` is None if requests need no signature, `reporter` if nothing is reported, `certificate` without TLS.
    `obstacle` returns what keeps callers from reaching the worker, in one sentence, or "".
    """

    clock: IReactorTime
    readiness: Readiness
    admission: WorkerAdmission
    pools: Sequence[ConnectionPool]
    server: Server
    tunnels: Tunnels
    autoscaler: ReportingClient
    backend_url: str
    public_url: str = ""
    keyring: Keyring | None = None
    reporter: Reporter | None = None
    certificate: Certificate | None = None
    obstacle: Callable[[], str] = lambda: ""
    optional: OptionalParts = OptionalParts()

    kind = "worker"
    figures: tuple[str, ...] = ("load", "estimated_wait_seconds", "requests_in_flight", "requests_queued")

    @property
    def states(self) -> StateChanges:
        """The states of the backend."""
        return self.readiness.history.changes

    @property
    def estimated_wait(self) -> float | None:
        """The seconds until the backend has done the work in flight; None before it is measured."""
        return self.gate.estimated_wait(self.ledger.backend_load) if self.gate.throughput else None

    @property
    def gate(self) -> FairQueue[Any]:
        """The slots at the backend, and the queue."""
        return self.admission.gate

    @property
    def ledger(self) -> Ledger:
        """The accounts of requests."""
        return self.admission.ledger

    def measure(self) -> Mapping[str, float | None]:
        """The figures of this second."""
        return {
            "load": from_micros(self.ledger.load),
            "estimated_wait_seconds": self.estimated_wait,
            "requests_in_flight": self.ledger.in_flight - self.gate.waiting,
            "requests_queued": self.gate.waiting,
        }

    def facts(self) -> dict[str, Any]:
        """The worker's members of the document."""
        gate = self.gate
        return {
            **self.measure(),
            "estimated_wait_limit_seconds": gate.max_wait_seconds,
            "queue_limit": gate.max_queue,
            "concurrency_limit": gate.max_concurrency,
            "tunnels": self.tunnels.count,
            **self._engine(),
            **self._sessions(),
            "client_connections": len(self.server.connections),
            "public_url": self.public_url,
            **self._backend(),
            "backends": backend_rows(self.optional.backends),
            **self._affinity(),
            **self._benchmark(),
            **self._autoscaler(),
            "certificate_file": self.certificate.file if self.certificate else "",
            "certificate_expires_at": self.certificate.ends if self.certificate else None,
            "problems": [{"severity": problem.severity, "text": problem.text} for problem in self.problems()],
        }

    def problems(self) -> list[Problem]:
        """What is wrong now, beside the state of the backend: each in one sentence, errors first."""
        now = self.clock.seconds()
        obstacle = self.obstacle()
        found = [Problem("error", obstacle)] if obstacle else []
        if self.server.draining:
            found.append(Problem("warning", STOPPING))
        if self.keyring is not None:
            found += key_problems(self.keyring)
        if self.reporter is not None:
            found += autoscaler_problems(self.reporter, self.autoscaler, now)
        if self.certificate is not None:
            found += certificate_problems(self.certificate, now)
        found += backend_problems(self.optional.backends)
        found += affinity_problems(self.optional.affinity)
        found += load_problems(self.gate, self.estimated_wait)
        return sorted(found, key=lambda problem: problem.severity != "error")

    def _affinity(self) -> dict[str, Any]:
        affinity = self.optional.affinity
        if affinity is None:
            return {}
        return {"affinity_found_total": affinity.found, "affinity_missing_total": affinity.missing}

    def _engine(self) -> dict[str, Any]:
        jobs, aborts = self.optional.jobs, self.optional.aborts
        return {
            "jobs": jobs.in_flight if jobs is not None else 0,
            "jobs_oldest_at": jobs.oldest if jobs is not None else None,
            "aborts": aborts.under_way if aborts is not None else 0,
        }

    def _sessions(self) -> dict[str, Any]:
        sessions = self.optional.sessions
        counts = sessions.counts() if sessions else dict.fromkeys(COUNTED, 0)
        return {
            "sessions": len(sessions.table.sessions) if sessions else 0,
            "sessions_limit": sessions.table.limit if sessions else 0,
            "session_load": from_micros(self.ledger.session_load),
            **{f"sessions_{name}_total": count for name, count in counts.items()},
            "session_callbacks_failed_total": sessions.callbacks_failed if sessions else 0,
        }

    def _backend(self) -> dict[str, Any]:
        probe = self.readiness.history.last_probe
        return {
            "backend_url": self.backend_url,
            "backend_connections_open": sum(pool.size for pool in self.pools),
            "backend_connections_idle": sum(pool.idle for pool in self.pools),
            "backend_connections_limit": sum(pool.limits.connections for pool in self.pools),
            "probe_at": probe.at if probe else None,
            "probe_seconds": probe.seconds if probe else None,
            "probe_trouble": probe.trouble if probe else "",
        }

    def _benchmark(self) -> dict[str, Any]:
        figure, history = self.readiness.throughput, self.readiness.history
        return {
            "benchmark_throughput": figure,
            "benchmark_concurrency": getattr(figure, "concurrency", 0),
            "benchmark_model": model_name(getattr(figure, "served", "")),
            "benchmark_measured_at": history.measured_at or None,
            "benchmark_lines": list(history.progress)[-LINES:],
            **self._usage(),
        }

    def _usage(self) -> dict[str, Any]:
        usage, estimate = self.optional.usage, self.optional.recalibration
        return {
            "throughput_estimate": (estimate.throughput or None) if estimate is not None else None,
            "admission_throughput": (estimate.admission_throughput or None) if estimate is not None else None,
            "usage_read": usage is not None,
            "usage_measured_total": usage.measured if usage is not None else 0,
            "usage_unmeasured_total": usage.unmeasured if usage is not None else 0,
            "usage_measured_work": from_micros(usage.measured_work) if usage is not None else 0.0,
            "usage_signed_work": from_micros(usage.signed_work) if usage is not None else 0.0,
        }

    def _autoscaler(self) -> dict[str, Any]:
        reporter, keyring = self.reporter, self.keyring
        return {
            "key_needed": keyring is not None,
            "key_fetched": keyring is not None and keyring.has_key,
            "key_trouble": keyring.trouble if keyring else "",
            "refused_bad_signature_total": keyring.bad_signatures if keyring else 0,
            "refused_without_key_total": keyring.without_key if keyring else 0,
            "refused_wrong_url_total": self.admission.wrong_urls,
            "replays_total": self.admission.replays,
            "reports": reporter is not None,
            "reports_delivered_at": (reporter.delivered_at or None) if reporter else None,
            "reports_delivered_total": reporter.reports_delivered if reporter else 0,
            "reports_failed_total": reporter.reports_failed if reporter else 0,
            "reports_undelivered_since_at": reporter.undelivered_since if reporter else None,
            "reported_load": from_micros(reporter.delivered_load) if reporter else None,
            "report_addresses": list(self.autoscaler.addresses) if reporter else [],
            "report_troubles": [f"{url}: {trouble}" for url, trouble in self.autoscaler.troubles.items()],
        }


_check: type[Subject] = WorkerStatus


def model_name(served: str) -> str:
    """The name of a model in the text that `ServedModel` makes; "" if it has none."""
    try:
        name = json.loads(served)["id"]
    except (ValueError, KeyError, TypeError):
        return ""
    return name if isinstance(name, str) else ""
