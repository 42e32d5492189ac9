"""A whole worker in the test's own process, where what it holds can be counted."""

from __future__ import annotations

import gc
import os
from typing import Any, cast

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from tests.simulator_support.deployment import ControlledDeployment
from tests.system.scripted import ScriptedBackend
from vespa.accounting.fair_queue import FairQueue
from vespa.accounting.ledger import Ledger
from vespa.benchmarking.cache import BenchmarkCache
from vespa.benchmarking.key import cache_key
from vespa.config.worker_reading import load
from vespa.http.client_connection import ClientConnection
from vespa.http.server import Server
from vespa.http.server_connection import ServerConnection
from vespa.proxy.exchange import Exchange
from vespa.proxy.listener import Listener
from vespa.simulator.launch import worker_environment
from vespa.transport.splice import Pipes
from vespa.worker.app import WorkerApp
from vespa.worker.keyring import Keyring
from vespa.worker.service import make_worker

BENCHMARK = "tests.e2e.benchmark:benchmark"
PUBLIC_PORT = 31000
INDICES = 10_000
"""More than a run is assigned: the autoscaler counts them from 1."""
OF_A_REQUEST = (Exchange, ServerConnection, ClientConnection)


class WorkerHarness:
    """The worker's tree, started on a port that the system chose, and the parts of it that keep accounts."""

    def __init__(
        self,
        folder: str,
        deployment: ControlledDeployment,
        backend: ScriptedBackend,
        listen: str,
        settings: dict[str, str],
    ) -> None:
        cache = os.path.join(folder, "benchmark")
        environment = worker_environment(
            port=PUBLIC_PORT,
            backend_url=deployment.backend_url,
            report_addr=deployment.autoscaler_url,
            cache_file=cache,
            benchmark=BENCHMARK,
        )
        environment |= {"VESPA_LISTEN": listen, **settings}
        BenchmarkCache(cache, cache_key(BENCHMARK, deployment.backend_url, {})).save(1000.0)
        self.backend = backend
        # What earlier tests of this process have left is not this one's.
        gc.collect()
        self._others = [each for each in gc.get_objects() if isinstance(each, OF_A_REQUEST)]
        self.settings = load(environment)
        self.public_url = self.settings.public_url
        self.tree = make_worker(reactor, self.settings, {})
        self.tree.startService()
        self.services: list[Any] = list(cast(Any, self.tree))
        listening: Listener = self.services[-1]
        self.listening = listening
        self.server: Server = listening.server
        self.app: Any = self.server.application
        assert isinstance(self.app, WorkerApp)
        (self.pool,) = self.app.upstreams.pools
        self.gate: FairQueue[Any] = self.app.admission.gate
        self.ledger: Ledger = self.app.admission.ledger
        assert listening.port is not None
        self.port = listening.port
        (self.keyring,) = [each for each in self.services if isinstance(each, Keyring)]

    @property
    def ready(self) -> bool:
        """Whether it would let a signed request in."""
        return self.app.admission.unready() is None and self.keyring.has_key

    def stop(self) -> Deferred[None]:
        """Stop the tree."""
        gc.unfreeze()  # a process of its own would keep what it started with for ever; this one goes on
        stopped: Deferred[None] = self.tree.stopService()
        return stopped

    def held(self) -> dict[str, int]:
        """What is still held of requests and connections; empty where all is let go."""
        held = {
            "requests in flight": self.ledger.in_flight,
            "load": self.ledger.load,
            "slots": self.gate.working,
            "queued": self.gate.waiting,
            "clients": len(self.server.connections),
            "addresses": len(self.server.addresses),
            "connections to the backend": self.pool.size,
            "waiting for a connection": self.pool.waiting,
            "connections at the backend": len(self.backend.connections),
            "scripts": sum(not asked.over for asked in self.backend.asked),
            "swept": sum(each.timer.size for each in (self.server, self.app.admission, self.app.proxy)),
            "records": len(self.ledger.deletes()),
            "bytes": self.server.held.total,
            "bytes that are not verified": self.server.held.unverified,
            "tunnels": self.app.proxy.tunnels.count,
            "pipes": Pipes.count,
            "indices": sum(index in self.ledger.under_way for index in range(INDICES)),
        }
        return {name: count for name, count in held.items() if count}

    def leaked(self) -> dict[str, int]:
        """Objects that belong to a request or a connection and are still there."""
        gc.collect()
        leaked: dict[str, int] = {}
        others = {id(each) for each in self._others}
        for each in gc.get_objects():
            if isinstance(each, OF_A_REQUEST) and id(each) not in others and self._ours(each):
                leaked[type(each).__name__] = leaked.get(type(each).__name__, 0) + 1
        return leaked

    def _ours(self, each: Any) -> bool:
        """Whether it is of the traffic: the connections to the autoscaler, both ends, are kept for the next report."""
        if isinstance(each, ServerConnection):
            return each.server is self.server
        return getattr(each, "pool", self.pool) is self.pool
