"""The whole path of a request through the client in memory: caller, application, autoscaler and workers.

Nothing is faked but the sockets, the clock and chance. `caller()` is a connection to the proxy; whatever the proxy
connects to is a `Wire` among the `wires` of its address.
"""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

from tests.client.requests import CHAT, STREAM, post
from tests.rig import Wire
from vespa.accounting.fair_queue import FairQueue
from vespa.client.app import ClientApp
from vespa.client.autoscaler_client import AutoscalerClient
from vespa.client.debug_worker import DebugWorker
from vespa.client.endpoint_key import EndpointKey
from vespa.client.policy import Policy
from vespa.client.worker_pools import WorkerPools
from vespa.http.coarse_timer import CoarseTimer
from vespa.http.connection_pool import ConnectionPool
from vespa.http.server import Server
from vespa.proxy.browser_guard import BrowserGuard
from vespa.proxy.exchange import Exchange
from vespa.proxy.upstream_deadlines import Timeouts
from vespa.transport.origin import Origin

AUTOSCALER = ("203.0.113.1", 80)
WORKER = ("203.0.113.7", 31000)
OTHER = ("203.0.113.8", 31000)
KEY = "endpoint-key-1234"


class NoTrust:
    """Workers over plain HTTP need none."""

    async def roots(self) -> object:
        raise AssertionError("no worker here speaks TLS")


def assignment(worker: tuple[str, int] = WORKER, idx: int = 7, reqnum: int = 70) -> dict[str, Any]:
    """What the autoscaler says when there is a worker."""
    return {
        "__request_id": f"r-{idx}",
        "cost": 100.0,
        "endpoint": "demo",
        "reqnum": reqnum,
        "request_idx": idx,
        "signature": "c2ln+/==",
        "url": f"http://{worker[0]}:{worker[1]}",
    }


def query_of(given: dict[str, Any]) -> bytes:
    return (
        b"serverless_cost=100.0&serverless_endpoint=demo&serverless_reqnum=%d&serverless_request_idx=%d"
        b"&serverless_signature=c2ln%%2B%%2F%%3D%%3D&serverless_url=%b"
        % (given["reqnum"], given["request_idx"], given["url"].replace(":", "%3A").replace("/", "%2F").encode())
    )


def response(status: int, body: bytes = b"", *lines: bytes) -> bytes:
    """A response with a length."""
    head = [b"HTTP/1.1 %d Any" % status, *lines, b"Content-Length: %d" % len(body)]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


class ClientRig:
    """A client proxy in memory."""

    def __init__(
        self,
        *,
        pings: bool = False,
        token: str = "",
        allow_origins: tuple[str, ...] = (),
        max_connections: int = 0,
        random: float = 0.5,
        first_byte: float = 0.0,
        first_token: float = 0.0,
        per_worker: int = 0,
        trust: Any = None,
        observer: Any = None,
        debug_worker: str = "",
        **policy: Any,
    ) -> None:
        self.reactor = MemoryReactorClock()
        self.reactor.advance(1_700_000_000.0)
        self.waits: list[tuple[str, float]] = []
        timer = CoarseTimer(self.reactor)
        origin = Origin.parse(f"http://{AUTOSCALER[0]}")
        self.asked = ConnectionPool(origin.endpoint(self.reactor, 10.0), self.reactor, name="autoscaler")
        self.autoscaler = AutoscalerClient(
            origin,
            self.asked,
            EndpointKey("demo", self.reactor, given=KEY),
            timer,
            random=lambda: random,
            on_wait=lambda status, seconds: self.waits.append((status, seconds)),
        )
        roots: Any = trust or NoTrust()
        self.known = WorkerPools(self.reactor, roots, connections=per_worker)
        self.gate: FairQueue[Exchange] = FairQueue(None, max_connections, 10)
        self.app = ClientApp(
            Policy(token=token.encode(), waiting_pings=pings, **policy),
            autoscaler=self.autoscaler,
            workers=self.known,
            gate=self.gate,
            guard=BrowserGuard(host="127.0.0.1", token=token, allow_origins=allow_origins),
            timeouts=Timeouts(first_byte=first_byte, first_token=first_token),
            observer=observer,
            debug_worker=DebugWorker(debug_worker, "demo", self.reactor) if debug_worker else None,
        )
        self.proxy = self.app.proxy
        self.server = Server(self.app, self.reactor)
        self.refusing: set[tuple[str, int]] = set()
        self._wires: dict[tuple[str, int], list[Wire]] = {}
        self._met = 0

    @property
    def said(self) -> bytes:
        """What the proxy tells a worker of itself, and of the Host that these tests' callers ask for."""
        return b"X-Forwarded-Proto: http\r\nX-Forwarded-Host: localhost:8010\r\n" + self.proxy.via.lines[1]

    def caller(self) -> Wire:
        """A new connection to the proxy."""
        wire = Wire()
        wire.attach(self.server.buildProtocol(IPv4Address("TCP", "127.0.0.1", 40000)))
        return wire

    def wires(self, address: tuple[str, int]) -> list[Wire]:
        """The connections to an address, newest last; those asked for since are opened, or refused."""
        while self._met < len(self.reactor.tcpClients):
            host, port, factory, _, _ = self.reactor.tcpClients[self._met]
            connector = self.reactor.connectors[self._met]
            self._met += 1
            if connector.stoppedConnecting:
                continue
            if (host, port) in self.refusing:
                factory.clientConnectionFailed(connector, Failure(ConnectionRefusedError()))
                continue
            wire = Wire()
            protocol = factory.buildProtocol(IPv4Address("TCP", host, port))
            self._wires.setdefault((host, port), []).append(wire)
            wire.attach(protocol)
        return self._wires.setdefault(address, [])

    def asked_for(self) -> list[dict[str, Any]]:
        """What the autoscaler was asked and has not answered, oldest first."""
        questions = []
        for wire in self.wires(AUTOSCALER):
            data = bytes(wire.value())
            if data and wire.open:
                head, _, body = data.partition(b"\r\n\r\n")
                questions.append({"head": head, **json.loads(body)})
        return questions

    def tell(self, answer: dict[str, Any] | bytes) -> dict[str, Any]:
        """Answer the oldest open question of the autoscaler; returns what was asked."""
        for wire in self.wires(AUTOSCALER):
            data = wire.read() if wire.open else b""
            if data:
                wire.send(answer if isinstance(answer, bytes) else response(200, json.dumps(answer).encode()))
                return dict(json.loads(data.partition(b"\r\n\r\n")[2]))
        raise AssertionError("the autoscaler was not asked")

    def worker(self, address: tuple[str, int] = WORKER) -> Wire:
        """The newest connection to a worker."""
        wires = self.wires(address)
        assert wires, f"nothing connected to {address}"
        return wires[-1]

    def advance(self, seconds: float) -> None:
        """Let time go by, in steps that a coarse clock notices."""
        while seconds > 0:
            step = min(seconds, 0.5)
            self.reactor.advance(step)
            self.wires(AUTOSCALER)
            seconds -= step

    @property
    def idle(self) -> bool:
        """Nothing is under way, and no timer is left but those of kept connections."""
        return not self.gate.working and not self.gate.waiting and not self.autoscaler.waiting


def waiting_for_worker(request: bytes | None = None, **calling: Any) -> tuple[ClientRig, Any]:
    """A rig with comments on, and a caller whose stream has been told three times that there is no worker yet."""
    rig = ClientRig(pings=True, **calling)
    caller = rig.caller()
    caller.send(request or post(STREAM, target=CHAT))
    for _ in range(3):
        rig.tell({"status": "0 of 1 workers\nare ready", "request_idx": 9})
        rig.advance(2.5)
    return rig, caller
