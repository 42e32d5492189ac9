"""Laws of the export of spans: without the extra a warning, and an end of the process that waits, but not for long."""

from __future__ import annotations

import logging
from threading import Event
from typing import Any, cast

from twisted.internet import reactor
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.processes import until
from tests.rig import Rig
from vespa.observability.ended_requests import EndedRequests
from vespa.observability.request_id import RequestIds
from vespa.observability.span_export import FLUSH_SECONDS, SpanExport, export_spans, forward, is_installed


class MissingTests(SynchronousTestCase):
    def test_installed(self) -> None:
        """A package is found by its modules; a parent that is missing is no error."""
        self.assertTrue(is_installed(("json", "vespa.runtime")))
        self.assertFalse(is_installed(("json", "no_such_package_here.sdk")))

    def test_warning(self) -> None:
        """Without the extra one warning says what to install, and requests pass as before."""
        rig = Rig()
        before = rig.proxy.request_head
        with capturedLogs() as events:
            export_spans(
                rig.clock,
                rig.proxy,
                EndedRequests(rig.clock),
                RequestIds(lambda: 0.5),
                service="vespa-worker",
                version="1",
                installed=lambda: False,
            )
        (event,) = events
        self.assertEqual(event["log_level"], LogLevel.warn)
        self.assertIn("OTEL_EXPORTER_OTLP_ENDPOINT is set", formatEvent(event))
        self.assertIn("pip install 'vespa-proxy[otlp]'", formatEvent(event))
        self.assertEqual(rig.proxy.request_head, before)


class ClockReactor(Clock):
    """A clock that runs what threads hand in when it is told to."""

    def callFromThread(self, call: Any, *arguments: object) -> None:
        cast(Any, reactor).callFromThread(call, *arguments)


class StopTests(TestCase):
    timeout = 30

    async def test_flushed(self) -> None:
        """The spans that wait are made first, then the last are sent in another thread, and the stop waits for both."""
        order: list[str] = []
        may_end = Event()

        def shutdown() -> None:
            may_end.wait(20)
            order.append("sent")

        export = SpanExport(ClockReactor(), lambda: order.append("made"), shutdown)
        stopped = export.stopService()
        self.assertEqual((order, stopped.called), (["made"], False))
        may_end.set()
        await stopped
        self.assertEqual(order, ["made", "sent"])

    async def test_no_answer(self) -> None:
        """A collector that does not answer holds up the end of the process for a few seconds at most."""
        clock, may_end = ClockReactor(), Event()
        self.addCleanup(may_end.set)
        with capturedLogs() as events:
            stopped = SpanExport(clock, lambda: None, lambda: may_end.wait(20)).stopService()
            clock.advance(FLUSH_SECONDS - 0.1)
            self.assertFalse(stopped.called)
            clock.advance(0.2)
            await stopped
        self.assertIn("the last spans are not sent", formatEvent(events[-1]))


class ForwardTests(TestCase):
    async def test_once(self) -> None:
        """What a library logs becomes an event of ours, one in half a minute, and goes nowhere else."""
        logger = logging.getLogger("vespa.tests.some_library")
        self.addCleanup(setattr, logger, "handlers", [])
        forward(logger, ClockReactor())
        with capturedLogs() as events:
            for _ in range(5):
                logger.warning("could not reach %s", "the collector")
            logger.info("not this")
            await until(lambda: events)
        (event,) = events
        self.assertEqual(formatEvent(event), "vespa.tests.some_library: could not reach the collector")
        self.assertEqual((event["log_level"], logger.propagate), (LogLevel.warn, False))
