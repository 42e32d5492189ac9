"""Laws of spans: one for a request and one for each attempt, in the caller's trace, with the conventions' names."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.observability.logged_requests import Ended
from tests.rig import GET, OK, Rig, fields, post, status
from tests.worker.requests import envelope
from vespa.observability.ended_requests import EndedRequests
from vespa.observability.request_id import RequestIds
from vespa.observability.span_export import is_installed
from vespa.protocol.refusal import Refusal

AT = 1_700_000_000.0
TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"


def asked(flags: str = "01", *lines: bytes) -> bytes:
    """A request of a caller that traces it."""
    parent = f"traceparent: 00-{TRACE}-{CALLER}-{flags}".encode()
    return b"\r\n".join([b"GET /v1/models?key=SECRET HTTP/1.1", b"Host: worker:3000", parent, *lines, b"", b""])


class SpanCase(SynchronousTestCase):
    if not is_installed():
        skip = "the extra otlp is not installed"

    def setUp(self) -> None:
        from opentelemetry.sdk.trace import TracerProvider, sampling
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

        from vespa.observability.tracing import RequestSpans

        self.exporter = InMemorySpanExporter()
        provider = TracerProvider(sampler=sampling.DEFAULT_ON, shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.ids = RequestIds(lambda: 0.5)
        self.clock = Clock()
        self.clock.advance(AT)
        self.spans = RequestSpans(provider.get_tracer("vespa"), self.ids, self.clock)

    def worker(self, **options: Any) -> Rig:
        """A worker whose requests are traced."""
        ended = EndedRequests(self.clock)
        rig = Rig(observer=ended, clock=self.clock, **options)
        rig.proxy.request_head = self.spans.added_to(rig.proxy.request_head)
        ended.subscribe(self.spans.take, immediate=True)
        return rig

    def finished(self) -> list[Any]:
        """The spans so far, in the order of their ends."""
        self.clock.advance(0)
        return list(self.exporter.get_finished_spans())

    def by_name(self) -> dict[str, Any]:
        """The spans so far, by kind or, for internal ones, by name."""
        found = {span.name if span.kind.name == "INTERNAL" else span.kind.name: span for span in self.finished()}
        self.assertEqual(len(found), len(self.finished()))
        return found


class ServedTests(SpanCase):
    def test_attributes(self) -> None:
        """The server's span has the conventions' attributes, and ours. Nothing holds the query."""
        rig = self.worker()
        client = rig.ask(asked())
        self.clock.advance(0.25)
        rig.backend.wire.send(OK)
        self.assertEqual(status(client.read()), 200)
        span = self.by_name()["SERVER"]
        self.assertEqual(span.name, "GET")
        self.assertEqual(
            dict(span.attributes),
            {
                "http.request.method": "GET",
                "url.path": "/v1/models",
                "client.address": "192.0.2.1",
                "network.protocol.version": "1.1",
                "server.address": "worker",
                "server.port": 3000,
                "http.response.status_code": 200,
                "vespa.request_id": "800000000000-00000001",
                "vespa.outcome": "served",
                "vespa.cost": 1.0,
                "vespa.bytes_in": len(asked()),
                "vespa.bytes_out": len(OK),
                "vespa.attempts": 1,
            },
        )
        self.assertEqual((span.start_time, span.end_time), (int(AT * 1e9), int((AT + 0.25) * 1e9)))
        self.assertTrue(span.status.is_unset)
        for each in self.finished():
            self.assertNotIn("SECRET", each.to_json())

    def test_trace(self) -> None:
        """The server's span is a child of the caller's, and the backend gets the attempt's as its parent."""
        rig = self.worker()
        rig.ask(asked("01", b"tracestate: a=1"))
        sent = rig.backend.wire.read()
        rig.backend.wire.send(OK)
        server, attempt = (self.by_name()[kind] for kind in ("SERVER", "CLIENT"))
        self.assertEqual({span.context.trace_id for span in (server, attempt)}, {int(TRACE, 16)})
        self.assertEqual((server.parent.span_id, attempt.parent.span_id), (int(CALLER, 16), server.context.span_id))
        self.assertEqual(fields(sent, b"traceparent"), [f"00-{TRACE}-{attempt.context.span_id:016x}-01".encode()])
        self.assertEqual(fields(sent, b"tracestate"), [b"a=1"])

    def test_not_sampled(self) -> None:
        """A trace that its caller does not record is not recorded here, and goes on as one that is not."""
        rig = self.worker()
        rig.ask(asked("00"))
        (parent,) = fields(rig.backend.wire.read(), b"traceparent")
        rig.backend.wire.send(OK)
        self.assertEqual(self.finished(), [])
        self.assertTrue(parent.startswith(b"00-%b-" % TRACE.encode()) and parent.endswith(b"-00"), parent)

    def test_new_trace(self) -> None:
        """A request without a valid trace begins one. A state without its trace does not go on."""
        for line in (b"Accept: */*", b"traceparent: 00-%b-0-01" % TRACE.encode()):
            rig = self.worker()
            rig.ask(b"\r\n".join([b"GET / HTTP/1.1", b"Host: worker", line, b"tracestate: a=1", b"", b""]))
            sent = rig.backend.wire.read()
            rig.backend.wire.send(OK)
            server = self.by_name()["SERVER"]
            self.assertIsNone(server.parent)
            self.assertEqual(len(fields(sent, b"traceparent")), 1)
            self.assertIn(f"{server.context.trace_id:032x}".encode(), sent)
            self.assertEqual(fields(sent, b"tracestate"), [])
            self.exporter.clear()

    def test_one_connection(self) -> None:
        """Each request of a connection has spans of its own, although their heads are the same."""
        rig = self.worker()
        client = rig.client()
        for _ in range(3):
            client.send(GET)
            rig.backend.wire.send(OK)
            client.read()
        self.assertEqual(len({span.context.trace_id for span in self.finished()}), 3)


class PartTests(SpanCase):
    def test_times(self) -> None:
        """`queue` and `connect` are children with their times, and the attempt knows when the first byte came."""
        rig = self.worker(concurrency=1)
        other = rig.ask(GET)
        rig.ask(asked())
        rig.backend.slow = True
        self.clock.advance(1)
        other.hang_up()
        self.clock.advance(0.5)
        rig.backend.accept()
        self.clock.advance(2)
        rig.backend.wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
        self.clock.advance(4)
        rig.backend.wire.send(b"k")
        parts = {
            span.name if span.kind.name == "INTERNAL" else span.kind.name: span
            for span in self.finished()
            if span.context.trace_id == int(TRACE, 16)
        }
        self.assertEqual(
            {name: (span.start_time / 1e9 - AT, span.end_time / 1e9 - AT) for name, span in parts.items()},
            {"SERVER": (0.0, 7.5), "queue": (0.0, 1.0), "connect": (1.0, 1.5), "CLIENT": (1.5, 7.5)},
        )
        (event,) = parts["CLIENT"].events
        self.assertEqual((event.name, event.timestamp / 1e9 - AT), ("first byte", 3.5))
        server = parts.pop("SERVER")
        self.assertEqual({part.parent.span_id for part in parts.values()}, {server.context.span_id})

    def test_slices(self) -> None:
        """A batch of requests takes several turns of the reactor, and the end of the process none."""
        from vespa.observability.tracing import SLICE

        rig = self.worker()
        for _ in range(SLICE + 1):
            rig.ask(GET)
            rig.backend.wire.send(OK)
        self.assertEqual(len(self.exporter.get_finished_spans()), 0)
        self.spans.finish()
        self.assertEqual(len(self.exporter.get_finished_spans()), 2 * (SLICE + 1))
        self.assertEqual(len(self.finished()), 2 * (SLICE + 1))


class FailureTests(SpanCase):
    def test_failed(self) -> None:
        """A backend that closes its connection is an error of both spans, with its code."""
        rig = self.worker()
        client = rig.ask(asked())
        rig.backend.wire.hang_up()
        self.assertEqual(status(client.read()), 502)
        spans = self.by_name()
        for span in (spans["SERVER"], spans["CLIENT"]):
            self.assertEqual((span.attributes["error.type"], span.status.status_code.name), ("no_reply", "ERROR"))
        self.assertEqual(spans["SERVER"].attributes["vespa.origin"], "backend")
        self.assertNotIn("http.response.status_code", spans["CLIENT"].attributes)

    def test_second_attempt(self) -> None:
        """A request that is sent again has an attempt for each, and the backend gets the last one's span."""
        rig = self.worker()
        client = rig.ask(GET)
        rig.backend.wire.send(OK)
        client.read()
        self.finished()
        self.exporter.clear()
        client.send(GET)
        rig.backend.wires[0].hang_up()
        (parent,) = fields(rig.backend.wire.read(), b"traceparent")
        rig.backend.wire.send(OK)
        attempts = [span for span in self.finished() if span.kind.name == "CLIENT"]
        self.assertEqual([span.status.status_code.name for span in attempts], ["ERROR", "UNSET"])
        self.assertIn(f"{attempts[1].context.span_id:016x}".encode(), parent)

    def test_unserved(self) -> None:
        """A backend's own 503 is an error of both, and its 404 is one of the attempt alone."""
        for code, server_status in ((503, "ERROR"), (404, "UNSET")):
            rig = self.worker()
            rig.ask(GET)
            rig.backend.wire.send(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % code)
            spans = self.by_name()
            self.assertEqual(spans["SERVER"].status.status_code.name, server_status)
            self.assertEqual(spans["CLIENT"].status.status_code.name, "ERROR")
            self.assertEqual(spans["CLIENT"].attributes["http.response.status_code"], code)
            self.assertEqual(spans["CLIENT"].attributes["error.type"], str(code))
            self.exporter.clear()

    def test_left(self) -> None:
        """A caller that leaves is no error of the server's, and is named."""
        rig = self.worker()
        rig.ask(asked()).hang_up()
        span = self.by_name()["SERVER"]
        self.assertEqual((span.attributes["error.type"], span.status.status_code.name), ("cancelled", "UNSET"))

    def test_never_sent(self) -> None:
        """A verified request that is refused has a span in its caller's trace, without an attempt."""
        rig = self.worker(concurrency=1, max_queue=0)
        rig.ask(GET)
        self.assertEqual(status(rig.ask(asked()).read()), 429)
        (span,) = self.finished()
        self.assertEqual((span.attributes["error.type"], span.context.trace_id), ("queue_full", int(TRACE, 16)))

    def test_strangers(self) -> None:
        """A request that nothing has verified has no span, even if it asks to be recorded."""
        rig = self.worker(secured=True)
        rig.bad_signature = Refusal(401, "bad_signature", "the signature does not match")
        rig.ask(post(envelope(b"{}"), b"/", b"traceparent: 00-%b-%b-01\r\n" % (TRACE.encode(), CALLER.encode())))
        rig.ask(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
        self.assertEqual(self.finished(), [])

    def test_unknown_method(self) -> None:
        """A method that the conventions do not know does not name a span."""
        rig = self.worker()
        rig.ask(b"PROPFIND / HTTP/1.1\r\nHost: a\r\n\r\n")
        rig.backend.wire.send(OK)
        span = self.by_name()["SERVER"]
        self.assertEqual((span.name, span.attributes["http.request.method"]), ("HTTP", "_OTHER"))


class BoundTests(SpanCase):
    def test_pending(self) -> None:
        """However many requests end in one turn, a bounded number waits for its spans, the newest."""
        from vespa.observability.tracing import PENDING_MAX

        self.spans.take(
            [Ended(request_id=str(number), started_at=AT, received_at=AT) for number in range(PENDING_MAX + 5)]
        )
        self.spans.finish()
        ids = [
            span.attributes["vespa.request_id"]
            for span in self.exporter.get_finished_spans()
            if span.kind.name == "SERVER"
        ]
        self.assertEqual(ids, [str(number) for number in range(5, PENDING_MAX + 5)])
