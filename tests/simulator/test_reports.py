"""Tests of `vespa.simulator.fields` and `vespa.simulator.reports`."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.simulator.caller import deletes, worker_status
from vespa.simulator.fields import Malformed, read_json_object
from vespa.simulator.reports import read_delete_requests, read_official_deletes, read_worker_status


class JsonTests(SynchronousTestCase):
    def test_refused(self) -> None:
        """Only one JSON object is accepted: no other value, no NaN, no key twice, no other encoding."""
        for raw in (
            b"",
            b"[]",
            b"1",
            b'{"a": NaN}',
            b'{"a": -Infinity}',
            b'{"a": 1, "a": 1}',
            b'{"a": "\xff"}',
            b"{} x",
        ):
            self.assertRaises(Malformed, read_json_object, raw)


class StatusTests(SynchronousTestCase):
    def problems(self, body: dict[str, Any]) -> set[str]:
        error = self.assertRaises(Malformed, read_worker_status, json.dumps(body).encode())
        return set(error.problems)

    def test_right(self) -> None:
        """A report that is right is read field by field."""
        body = worker_status(working_request_idxs=[4, 5], cur_load=3)
        status = read_worker_status(json.dumps(body).encode())
        self.assertEqual((status.id, status.cur_load, status.working_request_idxs), (7, 3, (4, 5)))

    def test_keys(self) -> None:
        """Every key must be there, and no other."""
        for name in worker_status():
            body = worker_status()
            del body[name]
            self.assertEqual(self.problems(body), {name})
        self.assertEqual(self.problems(worker_status(num_requests_received=0)), {"num_requests_received"})

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
            self.assertEqual(self.problems(worker_status(**{name: value})), {name}, value)

    def test_all_at_once(self) -> None:
        """Every problem is named at once."""
        self.assertEqual(self.problems(worker_status(id=None, url=1, more=1)), {"id", "url", "more"})


class DeleteTests(SynchronousTestCase):
    def problems(self, body: dict[str, Any]) -> set[str]:
        error = self.assertRaises(Malformed, read_delete_requests, json.dumps(body).encode())
        return set(error.problems)

    def test_right(self) -> None:
        """Success and Cancelled go with success, Error and Rejected with its opposite."""
        good = read_delete_requests(json.dumps(deletes(True, (1, "Success"), (2, "Cancelled"))).encode())
        bad = read_delete_requests(json.dumps(deletes(False, (3, "Error"), (4, "Rejected"))).encode())
        self.assertEqual([record.request_idx for record in good.requests + bad.requests], [1, 2, 3, 4])
        self.assertEqual(self.problems(deletes(True, (1, "Error"))), {"requests[0].status"})
        self.assertEqual(self.problems(deletes(False, (1, "Cancelled"))), {"requests[0].status"})

    def test_dialects_agree(self) -> None:
        """Both dialects must say the same of the same requests, in the same order."""
        self.assertEqual(
            self.problems(deletes(True, (1, "Success"), (2, "Success"), request_idxs=[2, 1])), {"request_idxs"}
        )
        body = deletes(True, (1, "Success"))
        body["requests"][0]["success"] = False
        self.assertEqual(self.problems(body), {"requests[0].success"})

    def test_one_dialect(self) -> None:
        """One dialect alone is not enough."""
        body = deletes(True, (1, "Success"))
        del body["requests"]
        self.assertEqual(self.problems(body), {"requests"})

    def test_empty(self) -> None:
        """A report of nothing is refused: there was nothing to tell."""
        self.assertEqual(self.problems(deletes(True)), {"requests"})

    def test_times(self) -> None:
        """Times must be in order; a 0.0 says that it never came to that."""
        body = deletes(False, (1, "Rejected"))
        body["requests"][0]["work_started_at"] = 0.0
        read_delete_requests(json.dumps(body).encode())
        body["requests"][0]["work_completed_at"] = 1.0
        self.assertEqual(self.problems(body), {"requests[0].work_completed_at"})


class OfficialDeleteTests(SynchronousTestCase):
    def body(self, *requests: tuple[int, str]) -> dict[str, Any]:
        records = [
            record
            for idx, status in requests
            for record in deletes(status in ("Success", "Cancelled"), (idx, status))["requests"]
        ]
        return {"worker_id": 7, "mtoken": "master-token", "requests": records}

    def test_right(self) -> None:
        """The official worker tells good and bad in one report; each is read as ours would tell it."""
        read = read_official_deletes(json.dumps(self.body((1, "Success"), (2, "Error"), (3, "Cancelled"))).encode())
        told = {report.success: [record.request_idx for record in report.requests] for report in read}
        self.assertEqual(told, {True: [1, 3], False: [2]})

    def test_wrong(self) -> None:
        """What does not agree with itself is refused, and so is what ours adds for older readers."""
        body = self.body((1, "Success"))
        body["requests"][0]["success"] = False
        error = self.assertRaises(Malformed, read_official_deletes, json.dumps(body).encode())
        self.assertEqual(set(error.problems), {"requests[0].status"})
        ours = json.dumps(deletes(True, (1, "Success"))).encode()
        error = self.assertRaises(Malformed, read_official_deletes, ours)
        self.assertEqual(set(error.problems), {"request_idxs", "success"})
