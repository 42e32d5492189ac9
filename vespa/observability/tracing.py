"""
Spans of requests, with the names of OpenTelemetry's conventions for HTTP. `span_export` sends them to a collector.

Import this module only where `opentelemetry` is installed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from attrs import define
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from twisted.internet.interfaces import IReactorTime

from vespa.accounting.lifecycle import CANCELLED, FAILED, UNSERVED
from vespa.observability.ended_requests import EndedRequest
from vespa.observability.request_id import RequestIds
from vespa.observability.request_record import RequestRecord, record, shown_path, trace_parent

PENDING_MAX: Final = 2048
"""The number of ended requests whose spans are not made yet. The oldest of more get none."""
SLICE: Final = 16
"""The number of requests whose spans are made in one turn of the reactor, since each takes about 0.1 ms."""

_METHODS: Final = frozenset("CONNECT DELETE GET HEAD OPTIONS PATCH POST PUT TRACE".split())
_LINES: Final = (b"traceparent:", b"tracestate:")
_propagator: Final = TraceContextTextMapPropagator()


@define(eq=False)
class _Trace:
    """The spans of a request in flight: its own, and that of its last attempt at an upstream."""

    span: Span
    context: Context
    attempt: Span | None = None
    sent_at: float = 0.0


class RequestSpans:
    """
    Makes the spans of requests: one of the kind server, one of the kind client for each attempt at an upstream, and
    `queue` and `connect` if the request waited for a slot, and for a connection.

    The server's continues the trace of the caller's `traceparent`, and the upstream gets one with the attempt's span.
    The tracer's sampler decides at the first attempt. A request of a caller that nothing has verified has no span, so
    that strangers cannot displace the spans of others.
    """

    def __init__(self, tracer: Tracer, ids: RequestIds, clock: IReactorTime) -> None:
        self._tracer = tracer
        self._ids = ids
        self._clock = clock
        self._traces: dict[Any, _Trace] = {}
        self._pending: deque[tuple[EndedRequest, _Trace | None]] = deque(maxlen=PENDING_MAX)
        self._is_due = False

    def added_to(self, request_head: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
        """`HeaderPolicy.request_head` with the `traceparent` of a new attempt instead of the caller's."""

        def with_trace(exchange: Any) -> bytes:
            fields = request_head(exchange)
            trace = self._traces.get(exchange)
            if trace is None:
                trace = self._traces[exchange] = self._begin(exchange)
            trace.sent_at = now = self._clock.seconds()
            if trace.attempt is not None:
                trace.attempt.set_status(Status(StatusCode.ERROR))
                trace.attempt.end(_nanoseconds(now))
            trace.attempt = self._tracer.start_span(
                _method(exchange), trace.context, SpanKind.CLIENT, start_time=_nanoseconds(now)
            )
            sent = trace.attempt.get_span_context()
            line = b"traceparent: 00-%032x-%016x-%02x\r\n" % (sent.trace_id, sent.span_id, sent.trace_flags)
            return _without_trace(exchange, fields) + line

        return with_trace

    def take(self, batch: Sequence[EndedRequest]) -> None:
        """Requests have ended. Their spans are made in later turns of the reactor."""
        for request in batch:
            trace = self._traces.pop(request, None)
            if request.received_at:
                self._pending.append((request, trace))
        if self._pending and not self._is_due:
            self._is_due = True
            self._clock.callLater(0, self._work)

    def finish(self) -> None:
        """Make all pending spans now."""
        while self._pending:
            self._end(*self._pending.popleft())

    def _work(self) -> None:
        for _ in range(min(SLICE, len(self._pending))):
            self._end(*self._pending.popleft())
        self._is_due = bool(self._pending)
        if self._is_due:
            self._clock.callLater(0, self._work)

    def _begin(self, request: Any) -> _Trace:
        head = request.head
        parent = trace_parent(request)
        states = [value.decode("ascii", "replace") for name, value in head.headers if name.lower() == b"tracestate"]
        carrier = {"traceparent": parent, "tracestate": ",".join(states)} if parent else {}
        attributes: dict[str, Any] = {
            "http.request.method": _method(request),
            "url.path": shown_path(head.target),
            "client.address": request.peer,
            "network.protocol.version": f"1.{head.minor}",
        }
        if attributes["http.request.method"] == "HTTP":
            attributes["http.request.method"] = "_OTHER"
        host, _, port = head.host.decode("ascii", "replace").rpartition(":")
        if not port.isdigit():
            host, port = f"{host}:{port}" if host else port, ""
        if host:
            attributes["server.address"] = host
        if port:
            attributes["server.port"] = int(port)
        span = self._tracer.start_span(
            _method(request),
            _propagator.extract(carrier, Context()),
            SpanKind.SERVER,
            attributes,
            start_time=_nanoseconds(request.received_at),
        )
        return _Trace(span, set_span_in_context(span, Context()))

    def _end(self, request: EndedRequest, trace: _Trace | None) -> None:
        trace = trace or self._begin(request)
        span, attempt = trace.span, trace.attempt
        if not span.is_recording():
            return
        told = record(request)
        span.set_attributes({name: value for name, value in self._attributes(request, told).items() if value != ""})
        ended = _nanoseconds(request.ended_at)
        if (told.queue_seconds or 0.0) > 0.0:
            waited_until = request.started_at or request.ended_at
            self._child(trace, "queue", request.received_at, waited_until)
        if attempt is not None:
            if request.connect_seconds:
                self._child(trace, "connect", trace.sent_at - request.connect_seconds, trace.sent_at)
            if request.first_byte_at:
                attempt.add_event("first byte", timestamp=_nanoseconds(request.first_byte_at))
            if told.status and not told.code:
                attempt.set_attribute("http.response.status_code", told.status)
            if told.upstream:
                attempt.set_attribute("server.address", told.upstream)
            if request.state is FAILED or request.state is UNSERVED:
                attempt.set_attribute("error.type", told.code or str(told.status))
                attempt.set_status(Status(StatusCode.ERROR))
            attempt.end(ended)
        if request.state is FAILED or told.status >= 500:
            span.set_status(Status(StatusCode.ERROR, told.code or None))
        span.end(ended)

    def _attributes(self, request: EndedRequest, told: RequestRecord) -> dict[str, Any]:
        error = told.code or (str(told.status) if told.status >= 500 else "")
        return {
            "http.response.status_code": told.status or "",
            "error.type": "cancelled" if request.state is CANCELLED and not error else error,
            "vespa.request_id": self._ids.of(request),
            "vespa.outcome": told.outcome,
            "vespa.origin": told.origin,
            "vespa.cost": told.cost,
            "vespa.request_idx": "" if told.request_idx is None else told.request_idx,
            "vespa.bytes_in": told.bytes_in,
            "vespa.bytes_out": told.bytes_out,
            "vespa.attempts": request.attempts,
        }

    def _child(self, trace: _Trace, name: str, start: float, end: float) -> None:
        span = self._tracer.start_span(name, trace.context, SpanKind.INTERNAL, start_time=_nanoseconds(start))
        span.end(_nanoseconds(max(start, end)))


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)


def _method(request: Any) -> str:
    """The method, which is a span's name: a server's with unknown routes has no other. HTTP for an unknown one."""
    method: str = request.head.method.decode("ascii", "replace")
    return method if method in _METHODS else "HTTP"


def _without_trace(request: Any, fields: bytes) -> bytes:
    """The fields without the caller's `traceparent`, and without the `tracestate` of one that is not continued."""
    block = request.head.fields_block.lower()
    if b"trace" not in block:
        return fields
    dropped = _LINES[:1] if trace_parent(request) else _LINES
    return b"\r\n".join(line for line in fields.split(b"\r\n") if not line.lower().startswith(dropped))
