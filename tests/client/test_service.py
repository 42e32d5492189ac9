"""The client's tree, on a real reactor and real sockets."""

from __future__ import annotations

from typing import Any

import treq
from treq.client import HTTPClient
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.error import CannotListenError, ConnectionRefusedError
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import TestCase
from twisted.web.client import Agent
from twisted.web.http_headers import Headers
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from vespa.client.service import make_client
from vespa.config.client import ClientSettings
from vespa.simulator.autoscaler import SimulatedAutoscaler
from vespa.simulator.serving import Served, serve


class Slow(Resource):
    """A worker whose responses the test triggers."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[Any] = []
        self.arrived: Deferred[None] = Deferred()

    def render(self, request: Any) -> Any:
        self.requests.append(request)
        arrived, self.arrived = self.arrived, Deferred()
        arrived.callback(None)
        return NOT_DONE_YET


class ServiceTests(TestCase):
    async def asyncSetUp(self) -> None:
        """The autoscaler, and a worker that it names."""
        self.autoscaler = SimulatedAutoscaler(reactor)
        self.slow = Slow()
        self.api = await self.serve(self.autoscaler.resource())
        self.worker = await self.serve(self.slow)
        worker_totals = self.autoscaler.totals.of(1)
        worker_totals.url, worker_totals.loadtime, worker_totals.max_perf, worker_totals.last_report_at = (
            self.worker.url,
            1.0,
            10.0,
            reactor.seconds(),
        )
        self.http = HTTPClient(Agent(reactor))

    async def serve(self, resource: Resource) -> Served:
        served = await serve(resource, TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1"))
        self.addCleanup(lambda: Deferred.fromCoroutine(served.stop()))
        return served

    def client(self, **settings: Any) -> Any:
        values = {
            "endpoint": "demo",
            "account_key": "account-key",
            "autoscaler_url": self.api.url,
            "console_url": self.api.url,
            "port": 0,
            "admin_listen": "off",
            **settings,
        }
        client = make_client(reactor, ClientSettings(**values))
        self.addCleanup(client.stopService)
        return client

    async def test_both_of_localhost(self) -> None:
        """It answers at ::1 as well; where that is taken, at 127.0.0.1 alone, and the log says so."""
        await self.asyncSetUp()
        client = self.client()
        client.startService()
        port = int(client.url.rsplit(":", 1)[1])
        for host in ("127.0.0.1", "[::1]"):
            evil = Headers({"Origin": ["https://evil.example"]})
            response = await Agent(reactor).request(b"GET", f"http://{host}:{port}/".encode(), evil)
            self.assertEqual(response.code, 403)
            await treq.content(response)
        await client.stopService()
        site: Any = Site(Resource())
        taken: Any = reactor.listenTCP(0, site, interface="::1")
        self.addCleanup(taken.stopListening)
        second = self.client(port=taken.getHost().port)
        with capturedLogs() as logs:
            second.startService()
        self.assertIn("not listening on [::1]", " ".join(filter(None, map(formatEvent, logs))))
        await second.stopService()

    async def test_from_start_to_stop(self) -> None:
        """A key is looked up, a request served; what is under way at the stop ends, and nothing new begins."""
        await self.asyncSetUp()
        client = self.client()
        self.assertRaises(RuntimeError, lambda: client.url)
        client.startService()
        arrived = self.slow.arrived
        url = client.url + "/v1/models"
        answer = self.http.get(url)
        await arrived
        stopped = client.stopService()
        self.assertFalse(stopped.called)
        self.slow.requests[0].write(b"done")
        self.slow.requests[0].finish()
        self.assertEqual(await treq.text_content(await answer), "done")
        await stopped
        await self.assertFailure(self.http.get(url), ConnectionRefusedError)

    async def test_what_does_not_end_is_cut(self) -> None:
        """A stop takes no longer than the drain."""
        await self.asyncSetUp()
        client = self.client(drain_timeout=0.05)
        client.startService()
        arrived = self.slow.arrived
        answer = self.http.get(client.url + "/v1/models")
        await arrived
        await client.stopService()
        await self.assertFailure(answer, Exception)
        self.assertEqual(len(self.flushLoggedErrors()), 0)

    async def test_stream_that_does_not_end(self) -> None:
        """An event stream that is cut at the drain's end gets an error event, if that is set."""
        await self.asyncSetUp()
        for stream_errors in (True, False):
            client = self.client(drain_timeout=0.05, stream_errors=stream_errors)
            client.startService()
            arrived = self.slow.arrived
            answering = Agent(reactor).request(b"GET", f"{client.url}/v1/models".encode())
            await arrived
            worker = self.slow.requests[-1]
            worker.setHeader(b"Content-Type", b"text/event-stream")
            worker.write(b"data: 1\n\n")
            response = await answering
            pieces: list[bytes] = []
            ended = treq.collect(response, pieces.append)
            await client.stopService()
            await self.assertFailure(ended, Exception)  # the response is not whole
            said = b"".join(pieces)
            self.assertTrue(said.startswith(b"data: 1\n\n"), said)
            self.assertEqual(b"event: error" in said and b'"code": "draining"' in said, stream_errors)
            self.assertEqual(len(self.flushLoggedErrors()), 0)

    async def test_taken_port(self) -> None:
        """A port that is taken is an error of the start."""
        await self.asyncSetUp()
        client = self.client(port=self.api.port)
        self.assertRaises(CannotListenError, client.startService)

    async def test_addresses(self) -> None:
        """The URL is one that callers here can use, whatever is listened at."""
        await self.asyncSetUp()
        for host, url in (
            ("127.0.0.1", "http://127.0.0.1:"),
            ("::1", "http://[::1]:"),
            ("0.0.0.0", "http://127.0.0.1:"),
        ):
            client = self.client(host=host, token="long-enough-token")
            client.startService()
            self.assertTrue(client.url.startswith(url), client.url)

    def test_settings_that_are_no_good(self) -> None:
        """They are errors when the tree is made."""
        wrong: tuple[dict[str, Any], ...] = (
            {"endpoint_key": "a\nb"},
            {},
            {"endpoint_key": "k", "autoscaler_url": "run.vast.ai"},
            {"endpoint_key": "k", "worker_ca": "/nowhere"},
        )
        for values in wrong:
            with self.assertRaises((ValueError, OSError)):
                make_client(reactor, ClientSettings(endpoint="e", **values))
