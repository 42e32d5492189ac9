"""Laws of exported spans: a real worker and a real client, and a collector that reads what they send."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.web.resource import Resource

from tests.processes import until
from tests.system.case import SystemCase
from tests.system.peer import connect, request, way
from vespa.observability.span_export import is_installed
from vespa.simulator.serving import serve

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"
PARENT = f"traceparent: 00-{TRACE}-{CALLER}-01"


class Collector(Resource):
    """Takes spans over OTLP: `POST /v1/traces`, as protocol buffers."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.exports: list[Any] = []
        self.paths: list[bytes] = []
        self.status = 200

    def render_POST(self, request: Any) -> bytes:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        self.paths.append(request.path)
        request.setResponseCode(self.status)
        self.exports.append(ExportTraceServiceRequest.FromString(request.content.read()))
        return b""

    def spans(self) -> Iterator[tuple[str, Any]]:
        """Each span, with the name of its service."""
        for export in self.exports:
            for resource in export.resource_spans:
                names = {each.key: each.value.string_value for each in resource.resource.attributes}
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        yield names["service.name"], span

    async def until_spans(self, *services: str) -> None:
        """Return when each of these services has sent its span and that of its attempt; a slow one sends more."""
        wanted = {(service, f"SPAN_KIND_{kind}") for service in services for kind in ("SERVER", "CLIENT")}
        await until(
            lambda: wanted <= {(name, span.SpanKind.Name(span.kind)) for name, span in self.spans()}, what="the spans"
        )

    def find(self, service: str, kind: str) -> Any:
        """The only span of this service and kind. Raises ValueError if there is none, or are several."""
        (found,) = [span for name, span in self.spans() if name == service and span.SpanKind.Name(span.kind) == kind]
        return found


class SpanTests(SystemCase):
    if not is_installed():
        skip = "the extra otlp is not installed"

    def setUp(self) -> None:
        super().setUp()
        self.collector = Collector()

    async def collect(self) -> dict[str, str]:
        """Start the collector. Returns the settings of those that send it spans."""
        served = await serve(self.collector, TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1"))
        self.addCleanup(lambda: Deferred.fromCoroutine(served.stop()))
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": served.url, "OTEL_BSP_SCHEDULE_DELAY": "100"}

    async def test_worker(self) -> None:
        """A request's spans reach the collector while the worker runs, in its caller's trace."""
        worker = await self.unsecured(**await self.collect())
        peer = await self.connect()
        peer.send(request("GET", "/v1/models?a=SECRET", None, PARENT))
        await peer.answer()
        await self.collector.until_spans("vespa-worker")
        server = self.collector.find("vespa-worker", "SPAN_KIND_SERVER")
        attempt = self.collector.find("vespa-worker", "SPAN_KIND_CLIENT")
        self.assertEqual((server.trace_id.hex(), server.parent_span_id.hex()), (TRACE, CALLER))
        self.assertEqual(attempt.parent_span_id, server.span_id)
        self.assertLessEqual(server.start_time_unix_nano, attempt.start_time_unix_nano)
        self.assertLessEqual(attempt.end_time_unix_nano, server.end_time_unix_nano)
        self.assertEqual(set(self.collector.paths), {b"/v1/traces"})
        self.assertNotIn("SECRET", str(self.collector.exports))
        await self.end_well(worker)

    async def test_last_spans(self) -> None:
        """What is not sent when the worker is stopped is sent before it ends."""
        settings = {**await self.collect(), "OTEL_BSP_SCHEDULE_DELAY": "60000", "OTEL_SERVICE_NAME": "mine"}
        worker = await self.unsecured(**settings)
        peer = await self.connect()
        peer.send(request("GET", "/", None))
        await peer.answer()
        self.assertEqual(self.collector.exports, [])
        await self.end_well(worker)
        self.collector.find("mine", "SPAN_KIND_SERVER")

    async def test_no_collector(self) -> None:
        """A collector that is away costs one warning, and no request."""
        settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_BSP_SCHEDULE_DELAY": "100"}
        worker = await self.unsecured(**settings, OTEL_EXPORTER_OTLP_TIMEOUT="1")
        peer = await self.connect()
        for _ in range(3):
            peer.send(request("GET", "/", None))
            self.assertEqual((await peer.answer()).status, 200)
        await self.until_line(worker, r"warn \[vespa.observability.span_export\] (opentelemetry|urllib3)")
        worker.signal("TERM")
        self.assertEqual(await self.until_exit(worker, 20.0), 0, worker.text)
        self.assertNotIn("Traceback", worker.text)

    async def test_redirect(self) -> None:
        """A collector that redirects gets no spans, and the log says so."""
        self.collector.status = 302
        worker = await self.unsecured(**await self.collect())
        peer = await self.connect()
        peer.send(request("GET", "/", None))
        await peer.answer()
        await self.until_line(worker, r"warn \[vespa.observability.span_export\] .*the collector redirects")
        await self.end_well(worker)

    async def test_client_and_worker(self) -> None:
        """A call through the client is one trace: the client's attempt is the parent of the worker's span."""
        settings = await self.collect()
        worker = await self.start_worker(**settings)
        client = await self.deployed.start_client(settings=settings)
        peer = await connect(way(int(client.url.rpartition(":")[2])))
        self.addCleanup(peer.leave)
        peer.send(request("POST", "/v1/x", b"{}", PARENT, "Content-Type: application/json"))
        self.assertEqual((await peer.answer()).status, 200)
        await self.collector.until_spans("vespa-client", "vespa-worker")
        outer, attempt = (self.collector.find("vespa-client", f"SPAN_KIND_{kind}") for kind in ("SERVER", "CLIENT"))
        inner = self.collector.find("vespa-worker", "SPAN_KIND_SERVER")
        self.assertEqual([span.trace_id.hex() for span in (outer, attempt, inner)], [TRACE] * 3)
        self.assertEqual((outer.parent_span_id.hex(), inner.parent_span_id), (CALLER, attempt.span_id))
        of_both = [
            {each.key: each.value.int_value or each.value.double_value for each in span.attributes}
            for span in (outer, inner)
        ]
        for name in ("vespa.request_idx", "vespa.cost"):
            self.assertEqual(of_both[0][name], of_both[1][name])
        await self.end_well(worker)
