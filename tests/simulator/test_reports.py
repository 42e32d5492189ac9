"""Tests of `vespa.simulator.reports`."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.simulator_support.caller import deletes, worker_status
from vespa.simulator.reports import Amount, DeleteRequests, Malformed, Strict, WorkerStatus, read


class One(Strict, frozen=True):
    a: Amount


class JsonTests(SynchronousTestCase):
    def test_refused(self) -> None:
        """Only one JSON object is accepted: no other value, no NaN, no infinity, no key twice, no other encoding."""
        self.assertEqual(read(b'{"a": 1}', One), One(1.0))
        for raw in (
            b"",
            b"[]",
            b"1",
            b'{"a": NaN}',
            b'{"a": -Infinity}',
            b'{"a": Infinity}',
            b'{"a": 1e999}',
            b'{"a": 1, "a": 1}',
            b'{"a": "\xff"}',
            b"{} x",
        ):
            self.assertRaises(Malformed, read, raw, One)


class StatusTests(SynchronousTestCase):
    def problem(self, body: dict[str, Any]) -> str:
        return str(self.assertRaises(Malformed, read, json.dumps(body).encode(), WorkerStatus))

    def test_right(self) -> None:
        """A report that is right is read field by field."""
        body = worker_status(working_request_idxs=[4, 5], cur_load=3)
        status = read(json.dumps(body).encode(), WorkerStatus)
        self.assertEqual((status.id, status.cur_load, status.working_request_idxs), (7, 3, (4, 5)))

    def test_keys(self) -> None:
        """Every key must be there, and no other."""
        for name in worker_status():
            body = worker_status()
            del body[name]
            self.assertIn(f"`{name}`", self.problem(body))
        self.assertIn("`num_requests_received`", self.problem(worker_status(num_requests_received=0)))

    def test_types(self) -> None:
        """A value of another type is refused, true for 1 included, and so is an amount below 0."""
        wrong: list[tuple[str, object]] = [
            ("id", "7"),
            ("id", True),
            ("mtoken", None),
            ("cur_load", "1"),
            ("cur_load", True),
            ("new_load", -1),
            ("max_perf", None),
            ("error_msg", None),
            ("cur_capacity", 1),
            ("num_requests_working", 1.0),
            ("num_requests_recieved", -1),
            ("working_request_idxs", [1.0]),
            ("working_request_idxs", None),
        ]
        for name, value in wrong:
            self.assertIn(f"$.{name}", self.problem(worker_status(**{name: value})), value)


class DeleteTests(SynchronousTestCase):
    def problem(self, body: dict[str, Any]) -> str:
        return str(self.assertRaises(Malformed, read, json.dumps(body).encode(), DeleteRequests))

    def test_right(self) -> None:
        """Success and Cancelled go with success, Error and Rejected with its opposite."""
        good = read(json.dumps(deletes(True, (1, "Success"), (2, "Cancelled"))).encode(), DeleteRequests)
        bad = read(json.dumps(deletes(False, (3, "Error"), (4, "Rejected"))).encode(), DeleteRequests)
        self.assertEqual([record.request_idx for record in good.requests + bad.requests], [1, 2, 3, 4])
        self.assertRegex(self.problem(deletes(True, (1, "Error"))), r"`status` Error .*requests\[0\]")
        self.assertRegex(self.problem(deletes(False, (1, "Cancelled"))), r"`status` Cancelled .*requests\[0\]")
        self.assertIn("$.requests[0].status", self.problem(deletes(True, (1, "Done"))))

    def test_dialects_agree(self) -> None:
        """Both dialects must say the same of the same requests, in the same order."""
        self.assertIn(
            "`request_idxs`", self.problem(deletes(True, (1, "Success"), (2, "Success"), request_idxs=[2, 1]))
        )
        body = deletes(True, (1, "Success"))
        body["requests"] = deletes(False, (1, "Error"))["requests"]
        self.assertIn("`success` of a request", self.problem(body))

    def test_one_dialect(self) -> None:
        """One dialect alone is not enough."""
        body = deletes(True, (1, "Success"))
        del body["requests"]
        self.assertIn("`requests`", self.problem(body))

    def test_empty(self) -> None:
        """A report of nothing is refused: there was nothing to tell."""
        self.assertIn("`requests` is empty", self.problem(deletes(True)))

    def test_times(self) -> None:
        """Times must be in order; a 0.0 says that it never came to that."""
        body = deletes(False, (1, "Rejected"))
        body["requests"][0]["work_started_at"] = 0.0
        read(json.dumps(body).encode(), DeleteRequests)
        body["requests"][0]["work_completed_at"] = 1.0
        self.assertRegex(self.problem(body), r"times.*requests\[0\]")
