"""Tests of `vespa.simulator.events`."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.simulator_support.caller import deletes, worker_status
from vespa.simulator.events import describe
from vespa.simulator.reports import DeleteRequests, Malformed, WorkerStatus, read


class EventTests(SynchronousTestCase):
    def status(self, **changes: Any) -> str:
        return describe(read(json.dumps(worker_status(**changes)).encode(), WorkerStatus))

    def test_status(self) -> None:
        """The line for a report of state says what is new in it."""
        self.assertEqual(self.status(max_perf=0.0), "reports: loading")
        self.assertEqual(self.status(loadtime=2.0), "reports: ready after 2.0 s; its benchmark did 100 units a second")
        self.assertEqual(self.status(), "reports: idle")
        self.assertEqual(
            self.status(new_load=5.0, cur_load=2.5),
            "reports: 5 units received since the last report; 2.5 units in flight now",
        )
        self.assertEqual(
            self.status(new_load=1.0, cur_load=1.0),
            "reports: 1 unit received since the last report; 1 unit in flight now",
        )
        self.assertEqual(self.status(error_msg="no memory"), "reports: error: no memory")

    def test_others(self) -> None:
        """The line for finished requests has their indexes; that for a malformed report says what is wrong."""
        body = json.dumps(deletes(True, (1, "Success"), (2, "Cancelled"))).encode()
        self.assertEqual(
            describe(read(body, DeleteRequests)), "reports as finished: request 1 served, request 2 cancelled"
        )
        self.assertEqual(describe(Malformed("id: missing")), "malformed report: id: missing")
