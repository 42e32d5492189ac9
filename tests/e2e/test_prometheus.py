"""Prometheus itself, Debian's, scrapes a worker and a client under load, and is asked what it knows."""

from __future__ import annotations

import json
import os
from typing import Any
from urllib.parse import urlencode

import treq
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.task import deferLater
from twisted.web.http_headers import Headers

from tests.deploy.dashboard import RULES, dashboard_queries
from tests.e2e.callers import CallerCase
from tests.promtool import program
from tests.simulator_support.backend import ControlledBackend
from tests.simulator_support.deployment import ControlledDeployment
from vespa.simulator.child import Child, ClientChild
from vespa.simulator.launch import free_port
from vespa.simulator.serving import serve

ANY_PORT = "tcp:0:interface=127.0.0.1"
REQUESTS = 40
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"

BUSY = {"VespaEventLoopLag"}
"""The alert that is right on a busy machine, whatever is under test."""

EMPTY = {"Failures by cause", "Connections to the upstream"}
"""The panels that have a query without a result here: nothing failed, and these connections have no limit."""


class PrometheusTests(CallerCase):
    timeout = 240

    def setUp(self) -> None:
        program("prometheus")

    async def admin_address(self, child: Child) -> str:
        """The host and port of a child's admin port."""
        return (await self.until_line(child, r"status page and metrics: http://(127\.0\.0\.1:\d+)"))[1]

    async def start_prometheus(self, **targets: str) -> str:
        """Start Prometheus with a job for each target, and the alert rules; returns its URL."""
        folder = self.temporary_folder()
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(RULES)],
            "scrape_configs": [
                {"job_name": f"vespa-{job}", "static_configs": [{"targets": [target]}]}
                for job, target in targets.items()
            ],
        }
        path = os.path.join(folder, "prometheus.yml")
        with open(path, "w") as file:
            json.dump(config, file)  # JSON is YAML
        port = free_port()
        process = self.start(
            [
                program("prometheus"),
                f"--config.file={path}",
                f"--storage.tsdb.path={os.path.join(folder, 'data')}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--enable-feature=exemplar-storage",
            ]
        )
        await self.until_line(process, "Server is ready to receive web requests")
        return f"http://127.0.0.1:{port}"

    async def ask(self, url: str, path: str, **parameters: str) -> Any:
        """What Prometheus' API returns. Raises AssertionError if it is an error."""
        query = f"?{urlencode(parameters)}" if parameters else ""
        response = await treq.get(f"{url}/api/v1/{path}{query}", persistent=False, timeout=10)
        document = await response.json()
        self.assertEqual(document["status"], "success", document)
        return document["data"]

    async def value(self, url: str, query: str) -> float | None:
        """The value of a query with one result; None if it has none yet."""
        result = (await self.ask(url, "query", query=query))["result"]
        self.assertLessEqual(len(result), 1, query)
        return float(result[0]["value"][1]) if result else None

    async def until_value(self, url: str, query: str, expected: float) -> None:
        """Wait until a query has this value, for at most 20 seconds."""
        value = None
        for _ in range(80):
            value = await self.value(url, query)
            if value == expected:
                return
            await deferLater(reactor, 0.25)
        self.assertEqual(value, expected, query)

    async def load(self, client: ClientChild) -> None:
        """Requests of both kinds, a few at a time."""

        async def call(number: int) -> None:
            messages = [{"role": "user", "content": "Say anything."}]
            response = await treq.post(
                f"{client.url}/v1/chat/completions",
                json={"messages": messages, "max_tokens": 5, "stream": number % 2 == 1},
                headers=Headers({"traceparent": [f"00-{TRACE}-00f067aa0ba902b7-01"]}),
                persistent=False,
                timeout=30,
            )
            await treq.content(response)
            self.assertEqual(response.code, 200)

        for start in range(0, REQUESTS, 4):
            await gatherResults([Deferred.fromCoroutine(call(start + each)) for each in range(4)])

    async def start_all(
        self, backend_url: str | None = None, **settings: str
    ) -> tuple[ControlledDeployment, ClientChild, str]:
        """Autoscaler, worker, client and Prometheus: the first, the third, and the URL of the last."""
        deployment, client = await self.start_chain(
            backend_url=backend_url, settings={"VESPA_ADMIN_LISTEN": ANY_PORT, **settings}, admin_listen=ANY_PORT
        )
        url = await self.start_prometheus(
            worker=await self.admin_address(deployment.workers[0]), client=await self.admin_address(client)
        )
        return deployment, client, url

    async def test_scraped(self) -> None:
        """What was sent is what Prometheus counts, at the client and at the worker; every query has an answer."""
        deployment, client, url = await self.start_all()
        await self.until_value(url, 'sum(up{job=~"vespa-.*"})', 2)
        self.assertEqual(await self.value(url, 'sum(vespa_requests_total{outcome="served"})'), 0)
        await self.load(client)
        for query, expected in (
            ('vespa_requests_total{job="vespa-client",outcome="served"}', REQUESTS),
            ('vespa_requests_total{job="vespa-worker",outcome="served"}', REQUESTS),
            ('vespa_client_attempts_total{result="served"}', REQUESTS),
            ('vespa_request_duration_seconds_count{job="vespa-worker"}', REQUESTS),
            ('vespa_longest_chunk_gap_seconds_count{job="vespa-worker"}', REQUESTS / 2),
            ("sum(vespa_ready)", 2),
            ('vespa_state{state="ready"}', 1),
            ("vespa_client_workers", 1),
            ('sum(vespa_requests_in_flight{job="vespa-worker"})', 0),
            ("vespa_workload_in_flight", 0),
            # The autoscaler has got all of it.
            ("vespa_completions_pending", 0),
            ("vespa_public_key_known", 1),
        ):
            await self.until_value(url, query, expected)
        cost = sum(deployment.autoscaler.totals.costs.values())
        self.assertEqual(await self.value(url, 'vespa_workload_total{kind="served"}'), cost)
        for query in (
            'vespa_reports_total{result="delivered"} > 0',
            'vespa_bytes_total{job="vespa-worker",direction="out"} > 1000',
            'vespa_event_loop_lag_seconds_count{job="vespa-worker"} > 3',
            "vespa_benchmark_throughput > 0",
            "vespa_certificate_expiry_timestamp_seconds > time()",
            'process_open_fds{job="vespa-worker"} > 3',
            'vespa_backend_connections_reused_total{job="vespa-worker"} > 0',
        ):
            self.assertIsNotNone(await self.value(url, query), query)
        await self.assert_targets(url)
        await self.assert_exemplars(url)
        await self.assert_dashboard(url)
        await self.assert_quiet(url)
        self.assert_clean(deployment)

    async def assert_targets(self, url: str) -> None:
        """Scrapes are read to their end. On a busy machine one may take too long; it is followed by another."""
        targets: list[tuple[str, str]] = []
        for _ in range(80):
            found = (await self.ask(url, "targets"))["activeTargets"]
            targets = [(each["health"], each["lastError"]) for each in found]
            if targets == [("up", "")] * 2:
                return
            await deferLater(reactor, 0.25)
        self.fail(f"the targets are {targets}")

    async def assert_exemplars(self, url: str) -> None:
        """A latency leads to its trace."""
        now = reactor.seconds()
        found = await self.ask(
            url,
            "query_exemplars",
            query='vespa_time_to_first_byte_seconds_bucket{job="vespa-worker"}',
            start=str(now - 600),
            end=str(now + 10),
        )
        traces = {exemplar["labels"]["trace_id"] for series in found for exemplar in series["exemplars"]}
        self.assertEqual(traces, {TRACE})

    async def assert_dashboard(self, url: str) -> None:
        """Each query of the dashboard is valid, and has a result unless it asks for what did not happen."""
        without = set()
        for title, query in dashboard_queries():
            if not (await self.ask(url, "query", query=query))["result"]:
                without.add(title)
        self.assertEqual(without, EMPTY)

    async def assert_quiet(self, url: str) -> None:
        """All alerts are evaluated without an error, and none is about to fire for a proxy that is well."""
        active: set[str] = set()
        for _ in range(80):
            groups = (await self.ask(url, "rules"))["groups"]
            rules = [rule for group in groups for rule in group["rules"]]
            self.assertGreater(len(rules), 15)
            self.assertEqual([rule["name"] for rule in rules if rule["health"] == "err"], [])
            active = {rule["name"] for rule in rules if rule["state"] != "inactive"} - BUSY
            if not active:
                return
            await deferLater(reactor, 0.25)  # the next scrape is read, if this one was too late
        self.assertEqual(active, set())

    async def test_backend_gone(self) -> None:
        """When the backend is gone, the alert for that is on its way within seconds, and names the worker."""
        backend = ControlledBackend(reactor)
        endpoint = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
        served = await serve(backend.resource(), endpoint, backend.upgrades)
        self.addCleanup(served.stop)
        _, _, url = await self.start_all(
            served.url, VESPA_HEALTHCHECK_POLL_INTERVAL="0.5", VESPA_HEALTHCHECK_CONSECUTIVE_FAILURES="1"
        )
        await self.until_value(url, 'vespa_state{state="ready"}', 1)
        await served.stop()
        await self.until_value(url, 'vespa_state{state="errored"}', 1)
        await self.until_value(url, 'vespa_ready{job="vespa-worker"}', 0)
        await self.until_value(url, 'count(ALERTS{alertname="VespaErrored",job="vespa-worker"})', 1)
