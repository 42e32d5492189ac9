"""What people are told of a request."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.rig import GET, OK, Rig, post
from tests.worker.requests import envelope
from vespa.accounting.lifecycle import ENDS
from vespa.observability.ended_requests import EndedRequest, EndedRequests
from vespa.observability.request_record import OUTCOMES, RequestRecord, record, shown_path, trace_id
from vespa.protocol.refusal import Refusal
from vespa.proxy.proxied_request import PATH_MAX

PARENT = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class RecordTests(SynchronousTestCase):
    def records(self, rig: Rig) -> list[RequestRecord]:
        """The records of a worker's requests, as they end."""
        found: list[RequestRecord] = []

        def look(batch: Any) -> None:
            found.extend(record(request) for request in batch)

        ended = EndedRequests(rig.clock)
        ended.subscribe(look, immediate=True)
        rig.proxy.ended = ended.ended
        rig.server.on_refused = ended.refused
        return found

    def test_served(self) -> None:
        """A signed request that waited, connected and was served."""
        rig = Rig(secured=True, concurrency=1)
        rig.backend.slow = True
        found = self.records(rig)
        asked = post(envelope(b"{}"), b"/v1/chat?secret=1")
        rig.ask(asked)
        rig.clock.advance(0.5)
        rig.backend.accept()
        rig.clock.advance(1.5)
        rig.backend.wire.send(OK)
        self.assertEqual(
            found,
            [
                RequestRecord(
                    ended_at=1_700_000_002.0,
                    request_id="",
                    trace_id="",
                    method="POST",
                    path="/v1/chat",
                    peer="192.0.2.1",
                    status=200,
                    outcome="served",
                    code="",
                    origin="",
                    cost=2.5,
                    request_idx=3,
                    bytes_in=len(asked),
                    bytes_out=len(OK),
                    queue_seconds=0.0,
                    connect_seconds=0.5,
                    first_byte_seconds=2.0,
                    total_seconds=2.0,
                    longest_gap=None,
                    upstream="",
                    attempts=1,
                )
            ],
        )

    def test_left_the_queue(self) -> None:
        """A request that never got its slot has waited until its end, and has no first byte."""
        rig = Rig(concurrency=1)
        found = self.records(rig)
        rig.ask(GET)
        waiting = rig.ask(GET)
        rig.clock.advance(2.0)
        waiting.hang_up()
        (told,) = found
        self.assertEqual((told.outcome, told.origin, told.status), ("cancelled", "client", 0))
        self.assertEqual((told.queue_seconds, told.first_byte_seconds, told.total_seconds), (2.0, None, 2.0))

    def test_before_its_account(self) -> None:
        """A request that was not understood has no times and no path."""
        rig = Rig()
        found = self.records(rig)
        rig.ask(b"nonsense\r\n\r\n")
        (told,) = found
        self.assertEqual((told.outcome, told.method, told.path, told.request_idx), ("refused", "", "", None))
        self.assertEqual((told.queue_seconds, told.total_seconds), (None, None))
        self.assertTrue(told.code)

    def test_the_clock_is_set_back(self) -> None:
        """No duration is negative."""
        rig = Rig()
        found = self.records(rig)
        rig.ask(GET)
        rig.clock.rightNow -= 3600.0
        rig.backend.wire.send(OK)
        self.assertEqual((found[0].first_byte_seconds, found[0].total_seconds), (0.0, 0.0))

    def test_outcomes(self) -> None:
        """There is a word for each final state."""
        self.assertEqual(OUTCOMES.keys(), ENDS)


class PathTests(SynchronousTestCase):
    def test_shown(self) -> None:
        """A path is told without its query; what cannot be printed is not told as it is."""
        for target, path in [
            (b"/v1/models", "/v1/models"),
            (b"/?signature=abc", "/"),
            (b"*", "*"),
            (b"/a\x1b[2Jb", "/a?[2Jb"),
            (b"/\xff", "/\\xff"),
        ]:
            self.assertEqual(shown_path(target), path)

    @given(st.binary(max_size=2 * PATH_MAX))
    def test_bounds(self, target: bytes) -> None:
        """Whatever a stranger sends, it is printable, short, and without a query."""
        path = shown_path(target)
        self.assertTrue(path.isprintable())
        self.assertNotIn("?secret", shown_path(target.replace(b"?", b"") + b"?secret"))
        self.assertLessEqual(len(path), PATH_MAX)


class TraceTests(SynchronousTestCase):
    def ended(self, lines: bytes) -> EndedRequest:
        found: list[EndedRequest] = []
        clock = Clock()
        ended = EndedRequests(clock)
        ended.subscribe(found.extend, immediate=True)
        rig = Rig(observer=ended, clock=clock)
        rig.ask(b"GET / HTTP/1.1\r\nHost: worker\r\n" + lines + b"\r\n")
        rig.backend.wire.send(OK)
        return found[0]

    def test_traceparent(self) -> None:
        """The trace of a well-formed `traceparent`; a later version may be longer."""
        for value in (PARENT, b"01" + PARENT[2:] + b"-more"):
            request = self.ended(b"TraceParent: " + value + b"\r\n")
            self.assertEqual(trace_id(request), "4bf92f3577b34da6a3ce929d0e0e4736", value)

    def test_malformed(self) -> None:
        """Anything else is no trace: wrong digits, zeros, the version ff, two fields, or none at all."""
        for value in (
            PARENT[:-1],
            PARENT + b"-more",
            PARENT.upper(),
            b"ff" + PARENT[2:],
            PARENT.replace(b"4bf92f3577b34da6a3ce929d0e0e4736", b"0" * 32),
            PARENT.replace(b"00f067aa0ba902b7", b"0" * 16),
            PARENT.replace(b"-", b"_"),
            b"x" * 55,
        ):
            self.assertEqual(trace_id(self.ended(b"traceparent: " + value + b"\r\n")), "", value)
        self.assertEqual(trace_id(self.ended(b"")), "")
        self.assertEqual(trace_id(self.ended((b"traceparent: " + PARENT + b"\r\n") * 2)), "")

    def test_without_a_head(self) -> None:
        """A request without a head has no trace."""
        found: list[EndedRequest] = []
        ended = EndedRequests(Clock())
        ended.subscribe(found.extend, immediate=True)
        ended.refused("192.0.2.1", None, Refusal(408, "head_timeout", "slow"))
        self.assertEqual(trace_id(found[0]), "")
        self.assertEqual(record(found[0]).code, "head_timeout")
