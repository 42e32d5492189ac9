from __future__ import annotations

import json
from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from tests.accounting.entries import opened
from vespa.accounting.ledger import Ledger
from vespa.accounting.lifecycle import Event, State
from vespa.accounting.records import Completion, Snapshot
from vespa.vast.status_report import Condition, Identity, by_success, delete_requests, worker_status

IDENTITY = Identity(id=17, mtoken="token", version="1.2", url="https://192.0.2.1:40000")
WELL = Condition(loadtime=12.5, max_perf=250.0, error_msg="", ready=True)


def a_snapshot() -> Snapshot:
    """A ledger's snapshot with something of each kind."""
    ledger = Ledger(10)
    for idx, work, events in [
        (1, 1_500_000, (Event.ADMIT,)),
        (2, 2_000_000, (Event.ADMIT, Event.HEAD, Event.END)),
        (3, 4_000_000, (Event.REFUSE,)),
        (4, 8_000_000, (Event.WAIT, Event.HANG_UP)),
    ]:
        entry = opened(ledger, idx, work, 1.0)
        for event in events:
            ledger.advance(entry, event, 2.0)
    return ledger.snapshot()


def status(condition: Condition = WELL, snapshot: Snapshot | None = None, **changes: Any) -> dict[str, Any]:
    """The body of a report, decoded."""
    figures = {"disk_usage": 20.5, "additional_disk_usage": 0.5, "loadtime": 0.0} | changes
    body: dict[str, Any] = json.loads(worker_status(IDENTITY, condition, snapshot or a_snapshot(), **figures))
    return body


class StatusTests(SynchronousTestCase):
    def test_whole(self) -> None:
        """The body has exactly the keys that the autoscaler knows."""
        self.assertEqual(
            status(),
            {
                "id": 17,
                "mtoken": "token",
                "version": "1.2",
                "loadtime": 0.0,
                "cur_load": 1.5,
                "rej_load": 4.0,
                "new_load": 3.5,
                "error_msg": "",
                "max_perf": 250.0,
                "cur_perf": 2.0,
                "cur_capacity": 0,
                "max_capacity": 0,
                "num_requests_working": 1,
                "num_requests_recieved": 4,
                "additional_disk_usage": 0.5,
                "disk_usage": 20.5,
                "working_request_idxs": [1],
                "url": "https://192.0.2.1:40000",
            },
        )

    def test_loadtime(self) -> None:
        """The reported load time is the argument, not the condition's."""
        self.assertEqual(status(loadtime=12.5)["loadtime"], 12.5)

    def test_new_load(self) -> None:
        """If more work was cancelled than received, the report says 0 received."""
        self.assertEqual(status(snapshot=evolve(a_snapshot(), new_load=-5_000_000))["new_load"], 0)

    def test_error(self) -> None:
        """The condition's message goes out in whatever letters it is."""
        self.assertEqual(status(evolve(WELL, error_msg="läuft nicht\n\ud800"))["error_msg"], "läuft nicht\n\ud800")

    def test_no_numbers(self) -> None:
        """NaN and the infinities are refused."""
        for number in (float("nan"), float("inf"), -float("inf")):
            self.assertRaises(ValueError, status, evolve(WELL, max_perf=number))
            for name in ("disk_usage", "additional_disk_usage", "loadtime"):
                self.assertRaises(ValueError, status, **{name: number})


class DeleteTests(SynchronousTestCase):
    records = (
        Completion(1, State.SERVED, 1.0, 2.0, 3.0),
        Completion(2, State.FAILED, 1.5, 2.5, 3.5),
        Completion(3, State.CANCELLED, 4.0, 0.0, 0.0),
        Completion(4, State.REFUSED, 5.0, 0.0, 0.0),
    )

    def test_unserved(self) -> None:
        """A backend's error that was passed on completely is reported as Success, as by Vast's own worker."""
        (body,) = delete_requests(IDENTITY, [Completion(9, State.UNSERVED, 1.0, 2.0, 3.0)])
        told = json.loads(body)
        self.assertEqual((told["success"], told["requests"][0]["status"]), (True, "Success"))

    def test_both_dialects(self) -> None:
        """There is a body for each value of success; each tells its requests in both dialects."""
        successes, failures = (json.loads(body) for body in delete_requests(IDENTITY, self.records))
        self.assertEqual(
            successes,
            {
                "worker_id": 17,
                "mtoken": "token",
                "request_idxs": [1, 3],
                "success": True,
                "requests": [
                    {
                        "request_idx": 1,
                        "success": True,
                        "status": "Success",
                        "entered_queue_at": 1.0,
                        "work_started_at": 2.0,
                        "work_completed_at": 3.0,
                    },
                    {
                        "request_idx": 3,
                        "success": True,
                        "status": "Cancelled",
                        "entered_queue_at": 4.0,
                        "work_started_at": 0.0,
                        "work_completed_at": 0.0,
                    },
                ],
            },
        )
        self.assertEqual((failures["success"], failures["request_idxs"]), (False, [2, 4]))
        self.assertEqual([request["status"] for request in failures["requests"]], ["Error", "Rejected"])
        self.assertEqual({request["success"] for request in failures["requests"]}, {False})

    def test_only_what_there_is(self) -> None:
        """There is no body without requests."""
        self.assertEqual(delete_requests(IDENTITY, []), [])
        self.assertEqual(len(delete_requests(IDENTITY, self.records[:1])), 1)
        self.assertEqual(json.loads(delete_requests(IDENTITY, self.records[3:])[0])["success"], False)

    def test_grouping(self) -> None:
        """Which records a body tells is known, so that they can be acknowledged one body at a time."""
        first, second = by_success(reversed(self.records))
        self.assertEqual([record.request_idx for record in first], [3, 1])
        self.assertEqual([record.request_idx for record in second], [4, 2])
        self.assertEqual(by_success([]), [])
