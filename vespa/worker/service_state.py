"""What the service manager hears about a worker."""

from __future__ import annotations

from vespa.runtime.service_manager import ServiceState
from vespa.worker.readiness.history import Readiness


def service_state(readiness: Readiness, obstacle: str) -> ServiceState:
    """
    The worker's state for the service manager: it is ready if its backend is, which includes the benchmark.

    `obstacle` is what keeps callers from reaching the worker, in one sentence, or "". While the backend loads and while
    the benchmark runs, the start goes on: both have limits of their own.
    """
    if obstacle:
        return ServiceState(False, obstacle)
    state, history = readiness.state, readiness.history
    newest = history.changes.newest
    detail = newest.reason if newest is not None else ""
    if state == "ready" and readiness.throughput:
        detail = f"{readiness.throughput:.1f} units of work a second"
    elif state == "benchmarking" and history.progress:
        detail = history.progress[-1]
    text = f"{state}: {detail}" if detail else state
    return ServiceState(readiness.ready, text, starting=state in ("loading", "benchmarking"))
