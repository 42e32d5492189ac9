"""What is wrong with a worker, in sentences for people: what happened, and what follows from it."""

from __future__ import annotations

from typing import Any, Final, Literal

from attrs import frozen

from vespa.accounting.fair_queue import FairQueue
from vespa.transport.certificates import Certificate
from vespa.worker.keyring import Keyring
from vespa.worker.reporter import HEARTBEAT_SECONDS, Reporter
from vespa.worker.reporting_client import ReportingClient

SILENT_SECONDS: Final = 2 * HEARTBEAT_SECONDS
"""After so long without a delivered report, the autoscaler counts as unreachable: one is due in half of that."""


@frozen
class Problem:
    """`error`: requests fail, or are not sent here. `warning`: they soon may, or some do."""

    severity: Literal["error", "warning"]
    text: str


def key_problems(keyring: Keyring) -> list[Problem]:
    """Whether signatures can be verified."""
    if keyring.has_key:
        return []
    why = f": {keyring.trouble}" if keyring.trouble else ": it is being fetched"
    return [Problem("error", f"Every request is refused, because there is no public key of the autoscaler{why}.")]


def autoscaler_problems(reporter: Reporter, autoscaler: ReportingClient, now: float) -> list[Problem]:
    """Whether the autoscaler gets the reports."""
    troubles = [f"{url}: {trouble}" for url, trouble in autoscaler.troubles.items() if not url.endswith("/pubkey/")]
    if not troubles:
        return []
    why = "; ".join(troubles)
    if not reporter.delivered_at:
        return [Problem("error", f"The autoscaler has not taken any report yet, so it sends no requests here: {why}.")]
    silent = now - reporter.delivered_at
    if silent > SILENT_SECONDS:
        return [Problem("error", f"The autoscaler has taken no report for {silent:.0f} s: {why}.")]
    return [Problem("warning", f"Some calls of the autoscaler fail: {why}.")]


def certificate_problems(certificate: Certificate, now: float) -> list[Problem]:
    """Whether clients accept the certificate, now and in a week."""
    problem = certificate.problem(now)
    return [] if problem is None else [Problem(*problem)]


def load_problems(gate: FairQueue[Any], estimated_wait: float | None) -> list[Problem]:
    """Whether the next request is refused, because too much work waits."""
    found = []
    limit = gate.max_wait_seconds
    if limit is not None and estimated_wait is not None and estimated_wait > limit:
        text = (
            f"New requests get 429: the estimated wait of {estimated_wait:.1f} s is above the limit of {limit:g} s "
            "(VESPA_MAX_WAIT_TIME)."
        )
        found.append(Problem("warning", text))
    if gate.waiting and gate.waiting >= gate.max_queue:
        text = f"New requests get 429: the queue holds {gate.waiting}, as many as VESPA_MAX_QUEUE allows."
        found.append(Problem("warning", text))
    return found
