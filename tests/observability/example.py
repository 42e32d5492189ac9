"""An example of a worker and of a client that were busy for 15 minutes, for the page's tests and its pictures."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from attrs import define
from twisted.internet import reactor
from twisted.internet.defer import maybeDeferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import Clock, LoopingCall

from vespa.accounting.lifecycle import CANCELLED, FAILED, REFUSED, SERVED, UNSERVED, State
from vespa.config.client import ClientSettings
from vespa.config.effective import effective
from vespa.config.worker_reading import load
from vespa.http.server import Server
from vespa.observability.admin import LIMITS
from vespa.observability.admin_access import AdminAccess
from vespa.observability.recent_requests import RecentRequests
from vespa.observability.request_record import OUTCOMES
from vespa.observability.routes import Routes, Sources
from vespa.observability.status import StatusDocument, page
from vespa.runtime.state_changes import StateChanges

NOW = 1_764_408_000.0  # 2025-11-29 09:20:00 UTC
SECONDS = 900
UNIT = 1_000_000
FIGURE = 1240.0
DOWN = "no server listens at 127.0.0.1:8000: the backend is not up yet, or VESPA_BACKEND_URL is wrong"
PATHS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings")
LOCALHOST = "tcp:0:interface=127.0.0.1"
WORKERS = ("https://203.0.113.21:41022", "https://198.51.100.7:52110", "https://203.0.113.90:40987")


@define(eq=False)
class ExampleRequest:
    """A request that has ended, with what the document shows of it."""

    state: State
    work: int
    received_at: float
    first_byte_at: float
    shown: dict[str, Any]
    measured: int | None = None


class Example:
    """The document of a worker or client. A second passes with each call of `second`."""

    kind = "worker"
    figures: tuple[str, ...] = ("load", "estimated_wait_seconds", "requests_in_flight", "requests_queued")

    def __init__(self, kind: str = "worker", seconds: int = SECONDS) -> None:
        """`seconds` is its age."""
        self.kind = kind
        self.random = Random(7)
        self.clock = Clock()
        self.clock.advance(NOW - seconds)
        self.states = StateChanges()
        self.level = "info"
        self.more: dict[str, Any] = {}
        self.at = 0
        self.requests = RecentRequests(lambda ended: dict(ended.shown))
        settings: object
        if kind == "worker":
            settings = load(
                {
                    "VESPA_BACKEND_URL": "http://127.0.0.1:8000",
                    "VESPA_BENCHMARK": "benchmarks.openai_chat:benchmark",
                    "CONTAINER_ID": "1234567",
                    "MASTER_TOKEN": "secret-of-the-example",
                    "PUBLIC_IPADDR": "203.0.113.21",
                    "VAST_TCP_PORT_3000": "41022",
                    "VESPA_MAX_CONCURRENCY": "32",
                    "VESPA_HEALTHCHECK_POLL_INTERVAL": "5",
                }
            )
        else:
            self.figures = ("requests_in_flight", "requests_queued", "searches_waiting", "longest_search_seconds")
            settings = ClientSettings(endpoint="llama-70b", endpoint_key="secret-of-the-example", timeout=120.0)
        self.status = StatusDocument(
            self,
            self.requests,
            self.clock,
            version="1.1.0",
            settings=effective(settings),
            log_level=lambda: self.level,
        )
        for _ in range(seconds):
            self.second()

    # -- what happens

    @property
    def rate(self) -> float:
        """The share of the backend's figure that is asked for."""
        wave = 0.55 + 0.25 * math.sin(self.at / 140) + 0.1 * math.sin(self.at / 31)
        return max(0.05, wave)

    @property
    def is_down(self) -> bool:
        newest = self.states.newest
        return newest is None or newest.state in ("loading", "benchmarking", "errored")

    def second(self) -> None:
        """One second passes."""
        self.clock.advance(1.0)
        self.at += 1
        now = self.clock.seconds()
        (self._worker if self.kind == "worker" else self._client)(now)
        for _ in range(self._count()):
            self.end(self._request(now))
        self.status.tick()

    def enter(self, state: str, reason: str = "") -> None:
        """The state changes now."""
        self.states.enter(self.clock.seconds(), state, reason)

    def end(self, request: ExampleRequest) -> None:
        """A request has ended."""
        self.requests.take([request])

    def _worker(self, now: float) -> None:
        for at, state, reason in (
            (1, "loading", DOWN),
            (70, "benchmarking", ""),
            (118, "ready", ""),
            (560, "suspect", "/health did not answer within 10 s"),
            (572, "errored", f"the backend refuses connections: {DOWN}"),
            (616, "ready", ""),
        ):
            if at == self.at:
                self.enter(state, reason)

    def _client(self, now: float) -> None:
        if self.at in (1, 95, 640):
            self.enter("ready")
        elif self.at in (20, 600):
            self.enter("searching", "no worker is free: 1 worker is loading, 2 are busy")

    def _count(self) -> int:
        if self.kind == "worker" and self.is_down:
            return 1 if self.states.newest and self.states.newest.state == "errored" else 0
        return int(self.rate * 9 + self.random.random())

    def _request(self, now: float) -> ExampleRequest:
        pick, cost = self.random.random(), float(self.random.choice((32, 64, 100, 128, 256)))
        state, status, code, origin = SERVED, 200, "", ""
        if self.kind == "worker" and self.is_down:
            state, status, code, origin = REFUSED, 503, "not_ready", "vespa"
        elif pick > 0.995:
            state, status, code, origin = FAILED, 502, "backend_unreachable", "backend"
        elif pick > 0.985:
            state, status, origin = CANCELLED, 200, "client"
        elif pick > 0.975:
            state, status, origin = UNSERVED, 422, "backend"
        queue = max(0.0, self.rate - 0.6) * self.random.random() * 2
        connect = 0.0004 if pick < 0.2 else 0.0
        first = queue + connect + 0.06 + 0.14 * self.rate + 0.1 * self.random.random() ** 3
        total = first + cost * 0.011 * (0.8 + 0.4 * self.random.random())
        written = int(cost * 180)
        if state in (REFUSED, FAILED):
            queue = connect = first = 0.0
            total, written = 0.002, 0
        shown: dict[str, Any] = {
            "ended_at": now - self.random.random(),
            "request_id": f"{self.random.getrandbits(64):016x}",
            "method": "POST",
            "path": self.random.choice(PATHS),
            "peer": f"198.51.100.{self.random.randrange(1, 9)}",
            "status": status,
            "outcome": OUTCOMES[state],
            "code": code,
            "origin": origin,
            "cost": cost,
            "request_idx": self.at,
            "bytes_in": self.random.randrange(300, 2400),
            "bytes_out": written,
            "queue_seconds": queue,
            "connect_seconds": connect or None,
            "first_byte_seconds": first or None,
            "total_seconds": total,
            "longest_gap_seconds": None,
            "upstream": self.random.choice(WORKERS) if self.kind == "client" else "",
            "attempts": 2 if self.kind == "client" and pick > 0.9 else 1,
        }
        return ExampleRequest(state, int(cost) * UNIT, now - total, now - total + first if first else 0.0, shown)

    # -- the subject of the document

    def measure(self) -> Mapping[str, float | None]:
        if self.kind == "client":
            waiting = 4 if self.states.newest and self.states.newest.state == "searching" else 0
            return {
                "requests_in_flight": int(self.rate * 14) + waiting,
                "requests_queued": 0,
                "searches_waiting": waiting,
                "longest_search_seconds": self.clock.seconds() - self.states.newest.at
                if waiting and self.states.newest
                else 0.0,
            }
        measured = self.at >= 118
        load = 0.0 if self.is_down else self.rate * FIGURE * (1.6 + 0.5 * math.sin(self.at / 19))
        at_work = 0 if self.is_down else min(32, int(self.rate * 36))
        return {
            "load": load,
            "estimated_wait_seconds": load / FIGURE if measured else None,
            "requests_in_flight": at_work,
            "requests_queued": max(0, int((self.rate - 0.75) * 40)) if at_work else 0,
        }

    def facts(self) -> dict[str, Any]:
        now = self.clock.seconds()
        limits = {"queue_limit": 1000, "concurrency_limit": 32, "client_connections": 41}
        own = self._worker_facts(now) if self.kind == "worker" else self._client_facts(now)
        return {**self.measure(), **limits, "problems": [], **own, **self.more}

    def _worker_facts(self, now: float) -> dict[str, Any]:
        return {
            "estimated_wait_limit_seconds": 10.0,
            "tunnels": 0,
            "jobs": 0,
            "jobs_oldest_at": None,
            "aborts": 0,
            "sessions": 2,
            "sessions_limit": 10,
            "session_load": 200.0,
            "sessions_opened_total": 31,
            "sessions_refused_total": 0,
            "sessions_ended_total": 27,
            "sessions_expired_total": 2,
            "sessions_drained_total": 0,
            "sessions_lost_total": 0,
            "session_callbacks_failed_total": 0,
            "public_url": "https://203.0.113.21:41022",
            "backend_url": "http://127.0.0.1:8000",
            "backends": [],
            "backend_connections_open": 34,
            "backend_connections_idle": 3,
            "backend_connections_limit": 0,
            "probe_at": now - 2.0,
            "probe_seconds": 0.0031,
            "probe_trouble": "",
            "benchmark_throughput": FIGURE if self.at >= 118 else None,
            "throughput_estimate": None,
            "admission_throughput": None,
            "usage_read": False,
            "usage_measured_total": 0,
            "usage_unmeasured_total": 0,
            "usage_measured_work": 0.0,
            "usage_signed_work": 0.0,
            "benchmark_concurrency": 32,
            "benchmark_model": "llama-3.1-8b-instruct",
            "benchmark_measured_at": NOW - SECONDS + 118,
            "benchmark_lines": [],
            "key_needed": True,
            "key_fetched": True,
            "key_trouble": "",
            "refused_bad_signature_total": 2,
            "refused_without_key_total": 0,
            "refused_wrong_url_total": 1,
            "replays_total": 0,
            "reports": True,
            "reports_delivered_at": now - 0.8,
            "reports_delivered_total": 871,
            "reports_failed_total": 2,
            "reports_undelivered_since_at": None,
            "reported_load": self.rate * FIGURE,
            "report_addresses": ["https://run.vast.ai"],
            "report_troubles": [],
            "certificate_file": "/etc/instance.crt",
            "certificate_expires_at": NOW + 41 * 86400,
        }

    def _client_facts(self, now: float) -> dict[str, Any]:
        worker = {"connections_open": 6, "failed_at": None, "trouble": ""}
        return {
            "workers_known": 3,
            "endpoint": "llama-70b",
            "url": "http://127.0.0.1:8010",
            "autoscaler_url": "https://run.vast.ai",
            "autoscaler_responses_total": 5211,
            "autoscaler_failures_total": 3,
            "autoscaler_trouble": "",
            "key_fetched": True,
            "searches": [],
            "sessions_known": 1,
            "sessions_limit": 100,
            "sessions": [
                {
                    "state": "open",
                    "worker_url": WORKERS[0],
                    "requests_total": 14,
                    "since_at": now - 40.0,
                    "used_at": now - 2.0,
                }
            ],
            "jobs_known": 3,
            "workers": [
                {
                    **worker,
                    "url": WORKERS[0],
                    "state": "busy",
                    "requests_in_flight": 6,
                    "requests_total": 2204,
                    "failures_total": 0,
                },
                {
                    **worker,
                    "url": WORKERS[1],
                    "state": "busy",
                    "requests_in_flight": 4,
                    "requests_total": 2127,
                    "failures_total": 1,
                },
                {
                    **worker,
                    "url": WORKERS[2],
                    "state": "failing",
                    "requests_in_flight": 0,
                    "requests_total": 880,
                    "failures_total": 12,
                    "failed_at": now - 9.0,
                    "trouble": "it answered busy",
                },
            ],
        }


class ExampleServer:
    """An example behind the real routes of the admin port, at a free port of loopback."""

    def __init__(self, example: Example, token: str = "") -> None:
        self.example = example
        self._token = token
        self.asked: list[str] = []
        self._port: IListeningPort | None = None
        self._server: Server | None = None
        self._routes: Routes | None = None
        self._loop = LoopingCall(example.second)

    async def start(self, port: int = 0) -> str:
        """Listen, and let the seconds pass. Returns the page's URL."""
        example = self.example
        sources = Sources(
            metrics=lambda accept: ("text/plain", b""),
            status=example.status.document,
            event=example.status.event,
            ready=lambda: (True, ""),
            page=page(),
            set_level=self._set_level,
        )
        seconds: Callable[[], float] = reactor.seconds
        self._routes = Routes(sources, AdminAccess(LOCALHOST, self._token, seconds), reactor)
        self._server = Server(self._routes, reactor, LIMITS)
        self._port = await TCP4ServerEndpoint(reactor, port, interface="127.0.0.1").listen(self._server)
        if not self._loop.running:
            self._loop.start(1.0, now=False)
        host: Any = self._port.getHost()
        return f"http://127.0.0.1:{host.port}/"

    def _set_level(self, name: str) -> None:
        if name == "critical":
            raise ValueError("this process logs elsewhere")
        self.example.level = name

    async def close_port(self) -> None:
        """Go away as a process does that ends: the port is closed, and every connection."""
        if self._port is not None and self._server is not None and self._routes is not None:
            self._routes.streams.close()
            await maybeDeferred(self._port.stopListening)
            self._server.abort()
            self._port = None

    async def stop(self) -> None:
        """End all of it."""
        if self._loop.running:
            self._loop.stop()
        await self.close_port()
