"""Sends spans to a collector over OTLP, in a thread of its own; only if `opentelemetry` is installed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib.util import find_spec
from threading import Thread
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from vespa.observability.ended_requests import EndedRequests
from vespa.observability.request_id import RequestIds
from vespa.proxy.app import App
from vespa.runtime.deadlines import within
from vespa.runtime.ratelimited_log import RateLimitedLog

log = Logger()

FLUSH_SECONDS: Final = 3.0
"""The longest time that the end of the process waits for the last spans to be sent."""
SETTING: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"

_NEEDED: Final = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http")
_LOGS: Final = ("opentelemetry", "urllib3")


def is_installed(modules: tuple[str, ...] = _NEEDED) -> bool:
    """Whether what the extra `otlp` installs is there."""
    try:
        return all(find_spec(module) is not None for module in modules)
    except ImportError:
        return False


def export_spans(
    reactor: Any,
    proxy: App,
    ended: EndedRequests,
    ids: RequestIds,
    *,
    service: str,
    version: str,
    installed: Callable[[], bool] = is_installed,
) -> Service:
    """
    Make spans of the requests of `proxy`, and export them as the OTEL_ variables of the process say.

    `service` is the service's name where these do not give one. Returns the service that ends the export, after
    `ended`. If the extra is not installed, a warning says so, and there are no spans.
    """
    if not installed():
        log.warn(
            "{setting} is set, but spans cannot be exported: install what is needed, pip install 'vespa-proxy[otlp]'",
            setting=SETTING,
        )
        return Service()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    from vespa.observability.collector_session import collector_session
    from vespa.observability.tracing import RequestSpans

    for name in _LOGS:
        forward(logging.getLogger(name), reactor)
    ours = Resource({"service.name": service, "service.version": version})
    resource = Resource.create().merge(ours).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(session=collector_session())))
    spans = RequestSpans(provider.get_tracer("vespa", version), ids, reactor)
    proxy.request_head = spans.added_to(proxy.request_head)
    ended.subscribe(spans.take)
    return SpanExport(reactor, spans.finish, provider.shutdown)


class SpanExport(Service):
    """Sends the last spans at the stop. `shutdown` blocks until they are sent, and so runs in a thread."""

    def __init__(self, reactor: Any, finish: Callable[[], None], shutdown: Callable[[], object]) -> None:
        self._reactor = reactor
        self._finish = finish
        self._shutdown = shutdown

    def stopService(self) -> Deferred[None]:
        """Fires when the last spans are sent, or after `FLUSH_SECONDS`. Does not fail."""
        super().stopService()  # type: ignore[no-untyped-call]
        self._finish()
        done: Deferred[None] = Deferred()

        def work() -> None:
            try:
                self._shutdown()
            finally:
                self._reactor.callFromThread(done.callback, None)

        # A daemon thread: the reactor's own would keep the process from ending while the collector does not answer.
        Thread(target=work, daemon=True).start()
        return within(FLUSH_SECONDS, self._reactor, done).addErrback(
            lambda _: log.warn("the last spans are not sent: the collector does not answer")
        )


class _Forwarding(logging.Handler):
    """Passes on what libraries log, from whatever thread: a kind of it once in half a minute."""

    def __init__(self, reactor: Any) -> None:
        super().__init__(logging.WARNING)
        self._reactor = reactor
        self._log = RateLimitedLog(Logger(namespace="vespa.observability.span_export"), reactor)

    def emit(self, record: logging.LogRecord) -> None:
        self._reactor.callFromThread(self._log.log, record.name, f"{record.name}: {record.getMessage()}")


def forward(logger: logging.Logger, reactor: Any) -> None:
    """Log through Vespa's log. Otherwise these lines would appear on standard error, in a form of their own."""
    logger.propagate = False
    logger.handlers = [_Forwarding(reactor)]
