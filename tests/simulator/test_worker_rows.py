"""The workers as the simulated autoscaler lists them."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.simulator.test_autoscaler import AutoscalerCase
from vespa.simulator.worker_rows import worker_rows
from vespa.simulator.worker_totals import EndpointTotals


class WorkerRowsTests(SynchronousTestCase):
    def test_none(self) -> None:
        """Without reports there are no workers."""
        self.assertEqual(worker_rows(EndpointTotals(), 0.0), [])


class RouteTests(AutoscalerCase):
    def test_list(self) -> None:
        """Each worker is an object with its state and its figures."""
        self.report(id=31, loadtime=1.0, max_perf=250.0, num_requests_working=2, cur_load=30.0)
        (row,) = self.caller.post_json("/get_endpoint_workers/", {"id": 1, "api_key": "account-key"}).json
        self.assertEqual((row["id"], row["status"]), (31, "ready"))
        self.assertEqual((row["reqs_working"], row["cur_load"], row["measured_perf"]), (2, 30.0, 250.0))

    def test_refused(self) -> None:
        """A wrong key or id is a 200 with an error_msg, as the autoscaler does it."""
        for question in ({"id": 1, "api_key": "x"}, {"id": 2, "api_key": "account-key"}):
            answer = self.caller.post_json("/get_endpoint_workers/", question)
            self.assertEqual((answer.status, list(answer.json)), (200, ["error_msg"]))

    def test_one_endpoint(self) -> None:
        """The console tells of one endpoint alone."""
        bearer: Any = {"Authorization": "Bearer account-key"}
        self.assertEqual(
            self.caller.ask("GET", "/api/v0/endptjobs/1/", **bearer).json["result"]["endpoint_name"], "demo"
        )
        self.assertEqual(self.caller.ask("GET", "/api/v0/endptjobs/2/", **bearer).status, 404)
        self.assertEqual(self.caller.ask("GET", "/api/v0/endptjobs/1/").status, 401)
