from __future__ import annotations

import math
from collections import Counter
from typing import Any

from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.frames import frames
from tests.seeds import examples
from vespa.accounting.lifecycle import CANCELLED, FAILED, REFUSED, SERVED, UNSERVED, State
from vespa.observability.ended_requests import BATCH
from vespa.observability.histogram import Histogram
from vespa.observability.metric import Reading
from vespa.observability.request_metrics import EXEMPLARS_A_BATCH, OTHER, RequestMetrics
from vespa.protocol.request_head import RequestHead, parse_request_head

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def head(*lines: str) -> RequestHead:
    return parse_request_head("\r\n".join(("GET / HTTP/1.1", "Host: w", *lines, "", "")).encode())[0]


UNTRACED = head()


@define(eq=False, kw_only=True)
class Ended:
    """A request that has ended: by default a whole response on a kept connection."""

    state: State = SERVED
    code: str = ""
    origin: str = ""
    received_at: float = 1000.0
    started_at: float = 1000.0
    first_byte_at: float = 1000.5
    ended_at: float = 1000.5
    connect_seconds: float = 0.0
    longest_gap: float = 0.0
    bytes_in: int = 100
    bytes_out: int = 200
    head: RequestHead | None = field(default=UNTRACED)
    peer: str = "192.0.2.1"
    request_id: str = ""
    status: int = 200
    work: int = 1
    measured: int | None = None
    request_idx: int | None = None
    upstream_address: str = ""
    attempts: int = 1


def values(metrics: RequestMetrics) -> dict[str, Any]:
    return {reading.metric.name: reading.read() for reading in metrics.readings()}


def counts(metrics: RequestMetrics) -> dict[tuple[str, str, str], int]:
    """How requests ended, without what did not happen."""
    return {key: count for key, count in values(metrics)["vespa_requests_total"].items() if count}


times = st.floats(0, 1000)
ended_requests = st.builds(
    lambda state, code, got, times, gap, connect, sizes: Ended(
        state=state,
        code="" if state is SERVED else code,
        origin="" if state is SERVED else "vespa",
        received_at=1000.0,
        started_at=1000.0 + times[0] if got > 0 else 0.0,
        first_byte_at=1000.0 + times[1] if got > 1 else 0.0,
        ended_at=1000.0 + (times[1] if got > 2 else times[2]),
        longest_gap=gap if 1 < got < 3 else 0.0,
        connect_seconds=connect if got else 0.0,
        bytes_in=sizes[0],
        bytes_out=sizes[1],
    ),
    st.sampled_from([SERVED, UNSERVED, FAILED, CANCELLED, REFUSED]),
    st.sampled_from(["", "busy", "no_reply"]),
    st.integers(0, 3),
    st.lists(st.just(0.0) | times, min_size=3, max_size=3).map(sorted),
    times,
    st.just(0.0) | st.floats(0.001, 10),
    st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)),
)


class LawTests(SynchronousTestCase):
    @settings(max_examples=examples(100))
    @given(st.lists(st.lists(ended_requests, min_size=1, max_size=8), max_size=6))
    def test_any_batches(self, batches: list[list[Any]]) -> None:
        """Whatever ended in whatever batches: each sum is what one by one comes to, and nothing ever falls."""
        metrics = RequestMetrics()
        before: dict[str, Any] = {}
        for batch in batches:
            metrics.take(batch)
            now = {
                name: sum(value.values()) if isinstance(value, dict) else value
                for name, value in values(metrics).items()
            }
            now = {name: value.count if isinstance(value, Histogram) else value for name, value in now.items()}
            for name, value in before.items():
                self.assertGreaterEqual(now[name], value, name)
            before = now
        every = [ended for batch in batches for ended in batch]
        started = [ended for ended in every if ended.started_at]
        responded = [ended for ended in started if ended.first_byte_at]
        self.assertEqual(
            Counter({(ended.state.name.lower(), ended.code, ended.origin): 0 for ended in every})
            | Counter((ended.state.name.lower(), ended.code, ended.origin) for ended in every),
            counts(metrics),
        )
        found = values(metrics)
        self.assertEqual(found["vespa_bytes_total"]["in"], sum(ended.bytes_in for ended in every))
        self.assertEqual(found["vespa_bytes_total"]["out"], sum(ended.bytes_out for ended in every))
        self.assertEqual(
            found["vespa_backend_connections_reused_total"], sum(not ended.connect_seconds for ended in responded)
        )
        for name, expected in (
            ("vespa_admission_wait_seconds", [ended.started_at - 1000 for ended in started]),
            ("vespa_time_to_first_byte_seconds", [ended.first_byte_at - 1000 for ended in responded]),
            ("vespa_request_duration_seconds", [ended.ended_at - 1000 for ended in started]),
            ("vespa_connect_seconds", [ended.connect_seconds for ended in started if ended.connect_seconds]),
        ):
            self.assert_histogram(found[name], expected, name)

    def assert_histogram(self, histogram: Histogram, expected: list[float], name: str) -> None:
        bounds = (*histogram.bounds, math.inf)
        self.assertEqual(histogram.cumulative(), [sum(v <= bound for v in expected) for bound in bounds], name)
        self.assertAlmostEqual(histogram.sum, math.fsum(expected), msg=name)


class RequestMetricsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.metrics = RequestMetrics()

    def histogram(self, name: str) -> Histogram:
        found = values(self.metrics)[name]
        assert isinstance(found, Histogram)
        return found

    def test_ends(self) -> None:
        """A request is counted by its outcome, the error code, and who caused the failure."""
        self.metrics.take([Ended(), Ended(), Ended(state=UNSERVED, origin="backend")])
        self.metrics.take([Ended(state=FAILED, code="no_reply", origin="backend"), Ended(state=CANCELLED)])
        self.metrics.take([Ended(state=REFUSED, code="busy", origin="vespa", started_at=0.0)])
        self.assertEqual(
            counts(self.metrics),
            {
                ("served", "", ""): 2,
                ("unserved", "", "backend"): 1,
                ("failed", "no_reply", "backend"): 1,
                ("cancelled", "", ""): 1,
                ("refused", "busy", "vespa"): 1,
            },
        )

    def test_an_attempt_before(self) -> None:
        """A request that was served in the end counts as served alone, though an earlier attempt failed."""
        self.metrics.take([Ended(origin="worker")])
        self.assertEqual(counts(self.metrics), {("served", "", ""): 1})

    def test_labels_are_bounded(self) -> None:
        """A code or an origin that is not one of ours, such as a stranger's, does not become a label."""
        self.metrics.take([Ended(state=FAILED, code=f"x{number}", origin=f"y{number}") for number in range(1000)])
        self.assertEqual(counts(self.metrics), {("failed", OTHER, OTHER): 1000})

    def test_from_zero(self) -> None:
        """What is expected is 0 from the start, so that its first occurrence is a rise."""
        metrics = RequestMetrics([("refused", "busy", "vespa")])
        found: Any = values(metrics)["vespa_requests_total"]
        self.assertEqual(found, {("refused", "busy", "vespa"): 0})
        metrics.take([Ended(state=REFUSED, code="busy", origin="vespa", started_at=0.0)])
        found = values(metrics)["vespa_requests_total"]
        self.assertEqual(found[("refused", "busy", "vespa")], 1)

    def test_refused_have_no_times(self) -> None:
        """Refusals are quick: their times would hide those of the requests that got a slot."""
        self.metrics.take([Ended(state=REFUSED, code="busy", origin="vespa", started_at=0.0, first_byte_at=0.0)])
        self.assertEqual(self.histogram("vespa_request_duration_seconds").count, 0)
        self.assertEqual(self.histogram("vespa_admission_wait_seconds").count, 0)

    def test_stream(self) -> None:
        """A stream has a first byte, a longest gap and an end of its own."""
        self.metrics.take([Ended(started_at=1002.0, first_byte_at=1003.0, ended_at=1012.0, longest_gap=4.0)])
        for name, value in (
            ("vespa_admission_wait_seconds", 2.0),
            ("vespa_time_to_first_byte_seconds", 3.0),
            ("vespa_request_duration_seconds", 12.0),
            ("vespa_longest_chunk_gap_seconds", 4.0),
        ):
            self.assertEqual((self.histogram(name).count, self.histogram(name).sum), (1, value), name)

    def test_failed_before_the_first_byte(self) -> None:
        """A request without a response has a duration, and no time to the first byte."""
        self.metrics.take([Ended(state=FAILED, code="no_reply", origin="backend", first_byte_at=0.0)])
        self.assertEqual(self.histogram("vespa_request_duration_seconds").count, 1)
        self.assertEqual(self.histogram("vespa_time_to_first_byte_seconds").count, 0)

    def test_exemplars(self) -> None:
        """The newest trace id of a bucket is its exemplar, in the histograms of duration and first byte."""
        parent = f"Traceparent: 00-{TRACE}-00f067aa0ba902b7-01"
        traced = head(parent)
        other = head(parent.replace(TRACE, "a" * 32))
        self.metrics.take([Ended(head=other), Ended(head=traced), Ended(), Ended(head=None)])
        self.metrics.take([Ended(head=traced, started_at=0.0, first_byte_at=0.0, ended_at=1060.0, state=REFUSED)])
        for name in ("vespa_time_to_first_byte_seconds", "vespa_request_duration_seconds"):
            (exemplar,) = filter(None, self.histogram(name).exemplars)
            self.assertEqual((exemplar.value, exemplar.trace_id, exemplar.at), (0.5, TRACE, 1000.5))
        self.assertEqual([*filter(None, self.histogram("vespa_admission_wait_seconds").exemplars)], [])

    def test_exemplars_are_few(self) -> None:
        """Of a large batch only the newest request is searched for a trace id, of a small one several."""
        traced = head(f"traceparent: 00-{TRACE}-00f067aa0ba902b7-01")
        for size, newest, found in ((BATCH, 1, 1), (BATCH, 2, 0), (8, EXEMPLARS_A_BATCH, 1), (16, 4, 1), (16, 5, 0)):
            metrics = RequestMetrics()
            batch = [Ended() for _ in range(size)]
            batch[-newest] = Ended(head=traced)
            metrics.take(batch)
            exemplars = values(metrics)["vespa_request_duration_seconds"].exemplars
            self.assertEqual(len([*filter(None, exemplars)]), found, (size, newest))

    def test_calls(self) -> None:
        """A served request in a batch costs no call of a Python function: twice as many take as many calls."""
        some, more = (RequestMetrics(), RequestMetrics())
        batch = [Ended(first_byte_at=1000.1, longest_gap=0.1, connect_seconds=0.1) for _ in range(128)]
        self.assertEqual(frames(some.take, batch), frames(more.take, batch + batch))
        self.assertEqual(sum(isinstance(reading, Reading) for reading in some.readings()), 8)
