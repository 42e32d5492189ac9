"""Laws of the session of the export of spans, against a collector that answers as it should not."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource

from vespa.observability.span_export import is_installed
from vespa.simulator.serving import serve


class _Collector(Resource):
    """Answers with `status` and `content`, and counts its connections."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.status, self.content = 200, b""
        self.ports: set[int] = set()
        self.paths: list[bytes] = []

    def render_POST(self, request: Any) -> bytes:
        self.ports.add(request.getClientAddress().port)
        self.paths.append(request.path)
        request.setResponseCode(self.status)
        if self.status == 302:
            request.setHeader(b"Location", b"/elsewhere?token=s3cret")
        return self.content


class SessionTests(TestCase):
    timeout = 30
    if not is_installed():
        skip = "the extra otlp is not installed"

    async def setUp(self) -> None:  # type: ignore[override]
        from vespa.observability.collector_session import collector_session

        self.collector = _Collector()
        served = await serve(self.collector, TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1"))
        self.addCleanup(lambda: Deferred.fromCoroutine(served.stop()))
        self.session = collector_session()
        self.addCleanup(self.session.close)
        self.url = f"{served.url}/v1/traces"

    async def post(self) -> Any:
        return await deferToThread(self.session.request, "POST", self.url, data=b"spans", allow_redirects=False)

    async def test_whole(self) -> None:
        """A response is there with its status and content, and its connection is used again."""
        self.collector.content = b"partial success"
        for _ in range(3):
            response = await self.post()
            self.assertEqual((response.status_code, response.content), (200, b"partial success"))
        self.assertEqual(len(self.collector.ports), 1)

    async def test_large(self) -> None:
        """Of a large response only the beginning is read, and its connection is closed."""
        from vespa.observability.collector_session import RESPONSE_MAX

        self.collector.content = b"x" * (4 * RESPONSE_MAX)
        for _ in range(2):
            response = await self.post()
            self.assertEqual(len(response.content), RESPONSE_MAX)
        self.assertEqual(len(self.collector.ports), 2)

    async def test_error(self) -> None:
        """An error of the collector is a response like another."""
        self.collector.status, self.collector.content = 503, b"busy"
        response = await self.post()
        self.assertEqual((response.status_code, response.text), (503, "busy"))

    async def test_redirect(self) -> None:
        """A redirect is not followed and is no success; the error does not show where it leads to."""
        from requests import RequestException

        self.collector.status = 302
        with self.assertRaisesRegex(RequestException, "redirects with the status 302: name the address") as caught:
            await self.post()
        self.assertNotIn("s3cret", str(caught.exception))
        self.assertEqual(self.collector.paths, [b"/v1/traces"])
