"""Tests of `vespa.observability.recent_requests`."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from tests.observability.ended import FakeEnded, row
from tests.observability.logged_requests import Ended, head_of
from vespa.accounting.lifecycle import CANCELLED, FAILED, REFUSED, SERVED, UNSERVED
from vespa.observability.ended_requests import RefusedRequest
from vespa.observability.recent_requests import KEPT, SAMPLES, RecentRequests, quantile
from vespa.observability.recent_requests import row as row_of
from vespa.protocol.refusal import Refusal


class RecentRequestsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.made = 0
        self.recent = RecentRequests(self.row)

    def row(self, ended: FakeEnded) -> dict[str, object]:
        self.made += 1
        return row(ended)

    def test_nothing(self) -> None:
        """A second without requests has counts of zero and no times."""
        second = self.recent.take_second()
        self.assertEqual(set(second.counts.values()), {0})
        self.assertEqual((second.served_work, second.first_byte_p50, second.first_byte_p95), (0.0, None, None))
        self.assertEqual((self.recent.rows(), self.recent.failures(), self.recent.number), ([], [], 0))

    def test_second(self) -> None:
        """Outcomes are counted, served work is that of served requests, and each second begins at zero."""
        states = (SERVED, SERVED, UNSERVED, FAILED, CANCELLED, REFUSED)
        self.recent.take([FakeEnded(state) for state in states[:2]])
        self.recent.take([FakeEnded(state) for state in states[2:]])
        second = self.recent.take_second()
        expected = {"served": 2, "unserved": 1, "failed": 1, "cancelled": 1, "refused": 1}
        self.assertEqual(dict(second.counts), expected)
        self.assertEqual(second.served_work, 2.0)
        self.assertEqual(set(self.recent.take_second().counts.values()), {0})
        self.recent.take([FakeEnded()])
        self.assertEqual(self.recent.take_second().served_work, 1.0)
        self.assertEqual(self.recent.totals, {**expected, "served": 3})

    def test_first_bytes(self) -> None:
        """The quantiles are of the times from the request to the first byte; requests without a response have none."""
        times = [0.1 * number for number in range(1, 101)]
        self.recent.take([FakeEnded(received_at=0.0, first_byte_at=time) for time in reversed(times)])
        self.recent.take([FakeEnded(FAILED, first_byte_at=0.0)])
        second = self.recent.take_second()
        assert second.first_byte_p50 is not None and second.first_byte_p95 is not None
        self.assertAlmostEqual(second.first_byte_p50, 5.1)
        self.assertAlmostEqual(second.first_byte_p95, 9.6)

    def test_clock_set_back(self) -> None:
        """A time that was measured over a clock's change is none below 0."""
        self.recent.take([FakeEnded(received_at=100.0, first_byte_at=40.0)])
        second = self.recent.take_second()
        self.assertEqual((second.first_byte_p50, second.first_byte_p95), (0.0, 0.0))

    def test_bounds(self) -> None:
        """However many requests end, so many rows are made and kept, and so many times are compared."""
        for at in range(10):
            self.recent.take([FakeEnded(work=0, received_at=0.0, first_byte_at=1.0 + at, ended_at=at)] * SAMPLES)
        self.recent.take([FakeEnded(ended_at=float(at)) for at in range(3 * KEPT)])
        second = self.recent.take_second()
        self.assertEqual(second.first_byte_p95, 1.0, "the first ones of the second")
        self.assertEqual(second.counts["served"], 10 * SAMPLES + 3 * KEPT)
        self.assertEqual(self.made, KEPT)
        rows = self.recent.rows()
        self.assertEqual([each["ended_at"] for each in rows], [float(at) for at in range(2 * KEPT, 3 * KEPT)])
        self.recent.take([FakeEnded(ended_at=500.0)])
        self.recent.take_second()
        self.assertEqual(len(self.recent.rows()), KEPT)

    def test_failures_stay(self) -> None:
        """A failure is still there when many requests were served after it; a caller who leaves is none."""
        self.recent.take([FakeEnded(FAILED, ended_at=1.0), FakeEnded(REFUSED, ended_at=2.0), FakeEnded(CANCELLED)])
        self.recent.take([FakeEnded(ended_at=3.0) for _ in range(2 * KEPT)])
        self.recent.take_second()
        self.assertEqual([each["outcome"] for each in self.recent.failures()], ["failed", "refused"])
        self.assertEqual({each["outcome"] for each in self.recent.rows()}, {"served"})
        self.recent.take([FakeEnded(FAILED) for _ in range(3 * KEPT)])
        self.recent.take_second()
        self.assertEqual(len(self.recent.failures()), KEPT)

    def test_numbers(self) -> None:
        """Rows are numbered in the order of their ends; a reader asks for what it has not seen."""
        self.recent.take([FakeEnded(ended_at=2.0, path="/b"), FakeEnded(FAILED, ended_at=1.0, path="/a")])
        self.recent.take_second()
        self.recent.take([FakeEnded(ended_at=3.0, path="/c")])
        self.recent.take_second()
        self.assertEqual(
            [(each["number"], each["path"]) for each in self.recent.rows()], [(1, "/a"), (2, "/b"), (3, "/c")]
        )
        self.assertEqual([each["path"] for each in self.recent.rows(after=1)], ["/b", "/c"])
        self.assertEqual([each["path"] for each in self.recent.rows(after=1, most=1)], ["/c"])
        self.assertEqual([each["path"] for each in self.recent.failures()], ["/a"])
        self.assertEqual(self.recent.failures(after=1), [])

    def test_newest(self) -> None:
        """The newest rows come with failures that are not among them, each once, in order."""
        self.recent.take([FakeEnded(FAILED if at in (1, 2, 9) else SERVED, ended_at=float(at)) for at in range(10)])
        self.recent.take_second()
        self.assertEqual([each["number"] for each in self.recent.newest(0, 2)], [3, 9, 10])
        self.assertEqual([each["number"] for each in self.recent.newest(2, 4)], [3, 7, 8, 9, 10])
        self.assertEqual(self.recent.newest(10, 4), [])


class RowTests(SynchronousTestCase):
    def test_members(self) -> None:
        """A row has every member of a record, and its durations tell their unit."""
        found = row_of(RefusedRequest("192.0.2.1", None, Refusal(431, "head_too_large", "too large"), 1000.0))
        json.dumps(found, allow_nan=False)
        self.assertEqual((found["outcome"], found["status"], found["code"]), ("refused", 431, "head_too_large"))
        self.assertEqual((found["ended_at"], found["path"], found["attempts"]), (1000.0, "", 0))
        durations = {name for name in found if name.endswith("_seconds")}
        expected = {"queue", "connect", "first_byte", "total", "longest_gap"}
        self.assertEqual(durations, {f"{name}_seconds" for name in expected})

    def test_request_id(self) -> None:
        """A row has the caller's id, although a request that was served is given none; without one it has none."""
        self.assertEqual(row_of(Ended(head=head_of(b"/", b"X-Request-Id: call-7")))["request_id"], "call-7")
        self.assertEqual(row_of(Ended())["request_id"], "")
        known = Ended(head=head_of(b"/", b"X-Request-Id: call-7"), request_id="abc-1")
        self.assertEqual(row_of(known)["request_id"], "abc-1")


class QuantileTests(SynchronousTestCase):
    def test_values(self) -> None:
        """A quantile is one of the values."""
        self.assertIsNone(quantile([], 0.5))
        self.assertEqual([quantile([1.0], share) for share in (0.0, 0.5, 0.95, 1.0)], [1.0] * 4)
        self.assertEqual(quantile([1.0, 2.0, 3.0], 0.5), 2.0)
        self.assertEqual(quantile([1.0, 2.0, 3.0], 1.0), 3.0)
