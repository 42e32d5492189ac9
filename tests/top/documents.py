"""Status documents for tests."""

from __future__ import annotations

from typing import Any

NOW = 1_700_000_000.0


def worker(**members: Any) -> dict[str, Any]:
    """A worker's document, as its admin port sends it."""
    return {
        "version": 1,
        "kind": "worker",
        "vespa_version": "1.1.0",
        "now_at": NOW,
        "started_at": NOW - 7980.0,
        "log_level": "info",
        "state": "ready",
        "state_since_at": NOW - 300.0,
        "state_reason": "",
        "throughput_now": 812.0,
        "benchmark_throughput": 1000.0,
        "benchmark_concurrency": 8,
        "benchmark_model": "llama",
        "benchmark_measured_at": NOW - 7200.0,
        "load": 3200.0,
        "estimated_wait_seconds": 3.2,
        "estimated_wait_limit_seconds": 10.0,
        "requests_in_flight": 12,
        "requests_queued": 3,
        "queue_limit": 1000,
        "concurrency_limit": 0,
        "tunnels": 0,
        "client_connections": 14,
        "requests_served_total": 1234,
        "requests_failed_total": 2,
        "backend_url": "http://127.0.0.1:8000",
        "backend_connections_open": 1,
        "backend_connections_idle": 0,
        "probe_at": NOW - 3.0,
        "probe_seconds": 0.002,
        "reports": True,
        "reports_delivered_at": NOW - 0.2,
        "reports_delivered_total": 120,
        "problems": [],
        "requests": [request(1), request(2, outcome="failed", status=502, code="backend_unreachable")],
        "history": {"from_at": NOW - 4.0, "step_seconds": 1, "throughput": [0.0, 400.0, None, 800.0]},
        **members,
    }


def backend(number: int, **members: Any) -> dict[str, Any]:
    """One of several backends."""
    return {
        "name": f"127.0.0.1:{8000 + number}",
        "url": f"http://127.0.0.1:{8000 + number}",
        "state": "ready",
        "state_reason": "",
        "requests_in_flight": 12,
        "load": 3200.5,
        "throughput": 1250.0,
        "requests_moved_total": 0,
        **members,
    }


def client(**members: Any) -> dict[str, Any]:
    """A client's document."""
    row = {"state": "busy", "requests_in_flight": 2, "requests_total": 40, "failures_total": 1, "trouble": "refused"}
    return {
        "kind": "client",
        "vespa_version": "1.1.0",
        "now_at": NOW,
        "state": "searching",
        "state_since_at": NOW - 4.0,
        "state_reason": "no worker is free: 2 are loading",
        "endpoint": "chat",
        "url": "http://127.0.0.1:8010",
        "searches_waiting": 3,
        "longest_search_seconds": 4.2,
        "workers_known": 1,
        "workers": [{"url": "https://203.0.113.7:41234", **row}],
        **members,
    }


def request(number: int, **members: Any) -> dict[str, Any]:
    """One of the last requests."""
    return {
        "number": number,
        "ended_at": NOW - 10.0 + number,
        "method": "POST",
        "path": "/v1/chat/completions",
        "status": 200,
        "outcome": "served",
        "code": "",
        "queue_seconds": 0.0,
        "first_byte_seconds": 0.12,
        "total_seconds": 2.5,
        **members,
    }
