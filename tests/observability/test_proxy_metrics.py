from __future__ import annotations

import math
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.rig import GET, OK, Rig, post
from vespa.http.limits import Limits, PoolLimits
from vespa.observability.proxy_metrics import BUILD, LOOP_LAG, ProxyParts, build, limit, proxy_readings

UPGRADE = b"GET /ws HTTP/1.1\r\nHost: worker\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


class ProxyMetricsTests(SynchronousTestCase):
    def start(self, **settings: Any) -> Rig:
        rig = Rig(**settings)
        self.ready = True
        self.parts = ProxyParts(
            gate=rig.gate,
            server=rig.server,
            tunnels=rig.proxy.tunnels,
            ready=lambda: self.ready,
            lag=LOOP_LAG.histogram(),
            pools=lambda: [rig.pool],
            pool_limit=rig.pool.limits.connections,
            pool_counts=rig.pool.counts,
        )
        return rig

    def value(self, name: str) -> Any:
        """The present value of vespa_`name`."""
        (value,) = [each.read() for each in proxy_readings(self.parts) if each.metric.name == f"vespa_{name}"]
        return value

    def values(self, *names: str) -> list[Any]:
        return [self.value(name) for name in names]

    def test_queue(self) -> None:
        """Requests in flight and queued, beside their limits."""
        rig = self.start(concurrency=2, max_queue=7)
        clients = [rig.ask(GET) for _ in range(3)]
        self.assertEqual(self.values("requests_in_flight", "requests_in_flight_limit"), [2, 2])
        self.assertEqual(self.values("requests_queued", "requests_queued_limit"), [1, 7])
        clients[0].hang_up()
        self.assertEqual(self.values("requests_in_flight", "requests_queued"), [2, 0])

    def test_no_limits(self) -> None:
        """What has no limit has an infinite one: a share of it is 0."""
        self.start(max_tunnels=0, limits=Limits(connections=0, held_bytes=0))
        names = ("requests_in_flight_limit", "tunnels_limit", "connections_limit", "backend_connections_limit")
        self.assertEqual(set(self.values(*names, "held_limit_bytes")), {math.inf})
        self.assertEqual([limit(None), limit(0), limit(2.5)], [math.inf, math.inf, 2.5])

    def test_connections(self) -> None:
        """Connections from callers and to the backend, kept ones among them, and those that wait for one."""
        rig = self.start(pool_limits=PoolLimits(connections=1))
        first, second = rig.ask(GET), rig.ask(GET)
        self.assertEqual(self.value("connections"), 2)
        names = ("backend_connections", "backend_connections_idle", "backend_requests_waiting")
        self.assertEqual(self.values(*names, "backend_connections_limit"), [1, 0, 1, 1])
        rig.backend.wire.send(OK)
        rig.backend.wire.send(OK)
        self.assertEqual(self.values(*names), [1, 1, 0])
        first.hang_up()
        second.hang_up()
        self.assertEqual(self.value("connections"), 0)
        self.assertEqual(self.value("backend_connections_opened_total"), 1)

    def test_failures(self) -> None:
        """Connections that failed or broke, and the requests that were sent again for that."""
        rig = self.start()
        rig.backend.refusing = True
        rig.ask(GET)
        rig.backend.refusing = False
        client = rig.ask(GET)
        rig.backend.wire.send(OK)
        client.send(GET)
        rig.backend.wire.hang_up()
        rig.backend.wire.send(OK)
        names = [f"backend_connections_{what}_total" for what in ("opened", "failed", "lost")]
        self.assertEqual(self.values(*names, "retries_total"), [2, 1, 1, 1])

    def test_tunnels(self) -> None:
        """Upgraded connections count among the tunnels, and hold no slot."""
        rig = self.start(max_tunnels=5)
        client = rig.ask(UPGRADE)
        rig.backend.wire.send(b"HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        self.assertEqual(self.values("tunnels", "tunnels_limit", "requests_in_flight"), [1, 5, 0])
        client.hang_up()
        self.assertEqual(self.value("tunnels"), 0)

    def test_held(self) -> None:
        """The memory that bodies take, beside its limit."""
        rig = self.start(concurrency=1, limits=Limits(held_bytes=10**6))
        rig.ask(GET)
        rig.ask(post(b"x" * 50_000))
        self.assertGreaterEqual(self.value("held_bytes"), 50_000)
        self.assertEqual(self.value("held_limit_bytes"), 10**6)

    def test_ready(self) -> None:
        """Ready is what /readyz says, as a number."""
        self.start()
        self.assertEqual(self.value("ready"), 1)
        self.ready = False
        self.assertEqual(self.value("ready"), 0)

    def test_build(self) -> None:
        """The versions that a report of a bug needs, and no more."""
        self.start()
        found = self.value("build_info")
        self.assertEqual(found, build())
        self.assertEqual(tuple(found), BUILD.labels)
        self.assertEqual([each for each in found.values() if not each], [])
