"""Tests of `vespa.simulator.autoscaler` and its console."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.simulator_support.caller import Caller, Response, deletes, worker_status
from vespa.simulator.autoscaler import Asked, Report, SimulatedAutoscaler
from vespa.simulator.reports import Malformed
from vespa.simulator.signing import Signer

SIGNER = Signer()
URL = "http://127.0.0.1:3000"


class AutoscalerCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_800_000_000.0)
        self.reports: list[Report] = []
        self.autoscaler = SimulatedAutoscaler(
            self.clock, signer=SIGNER, master_token="token", on_report=self.reports.append
        )
        self.caller = Caller(self, self.autoscaler.resource())

    def route(self, key: str = "endpoint-key", **changes: Any) -> Response:
        asked = {"endpoint": "demo", "api_key": key, "cost": 100, "request_idx": 0, "replay_timeout": 60.0, **changes}
        return self.caller.post_json("/route/", asked, Authorization=f"Bearer {key}")

    def ready(self, *numbers: int) -> None:
        """Workers that may be given requests."""
        for number in numbers:
            self.report(id=number, loadtime=1.0, url=f"http://127.0.0.1:{number}")

    def report(self, **changes: Any) -> Response:
        return self.caller.post_json("/worker_status/", worker_status(**changes))


class RouteTests(AutoscalerCase):
    def test_key(self) -> None:
        """The public key is served as PEM."""
        self.assertEqual(self.caller.ask("GET", "/pubkey/").body, SIGNER.pem)

    def test_waiting(self) -> None:
        """While no worker is ready the response has no URL, and an index to ask again with, which is kept."""
        first = self.route().json
        self.assertEqual(set(first), {"endpoint", "status", "request_idx"})
        self.assertEqual(self.route(request_idx=first["request_idx"]).json["request_idx"], first["request_idx"])
        self.report(loadtime=1.0)
        assigned = self.route(request_idx=first["request_idx"]).json
        self.assertEqual((assigned["url"], assigned["request_idx"]), (URL, first["request_idx"]))

    def test_assigned(self) -> None:
        """An assignment has exactly the protocol's fields, new numbers each time, and a signature of the form set."""
        self.report(loadtime=1.0)
        first = self.route(cost=2.5).json
        self.assertEqual(set(first), {"__request_id", "cost", "endpoint", "reqnum", "request_idx", "signature", "url"})
        self.assertEqual(first["signature"], SIGNER.sign({"url": URL}))
        self.autoscaler.signs = "full"
        second = self.route(cost=2.5).json
        names = ("cost", "endpoint", "reqnum", "request_idx", "url")
        self.assertEqual(second["signature"], SIGNER.sign({name: second[name] for name in names}))
        self.assertNotEqual(first["request_idx"], second["request_idx"])
        self.assertNotEqual(first["reqnum"], second["reqnum"])

    def test_spread(self) -> None:
        """Assignments are spread over equal workers between their reports."""
        for number in (1, 2):
            self.report(id=number, loadtime=1.0, url=f"http://127.0.0.1:{number}")
        self.assertEqual({self.route().json["url"] for _ in range(2)}, {"http://127.0.0.1:1", "http://127.0.0.1:2"})

    def test_refused(self) -> None:
        """A wrong key is 401; a wrong endpoint, field or index is 400."""
        self.assertEqual(self.route(key="other").status, 401)
        for change in ({"endpoint": "other"}, {"cost": -1}, {"cost": "1"}, {"request_idx": 9}, {"more": 1}):
            self.assertEqual(self.route(**change).status, 400, change)
        not_json = self.caller.ask("POST", "/route/", b"x", Authorization="Bearer endpoint-key")
        self.assertEqual((not_json.status, set(not_json.json)), (400, {"error"}))

    def test_keys(self) -> None:
        """The key must be the endpoint's, in the header and in the body."""
        self.assertEqual(self.route(api_key="other-key").status, 401)
        self.assertEqual(self.route("other-key", api_key="endpoint-key").status, 401)
        self.assertEqual(self.route().status, 200)

    def test_breakdown(self) -> None:
        """Who waits is told how many workers there are in each state."""
        self.assertIn("total workers: 0", self.route().json["status"])
        self.report(id=1)
        self.report(id=2, error_msg="no memory")
        self.assertEqual(
            self.route().json["status"], "total workers: 2, loading workers: 1, standby workers: 0, error workers: 1"
        )
        self.clock.advance(31.0)
        self.assertIn("standby workers: 2", self.route().json["status"])

    def test_recorded(self) -> None:
        """What was asked is told in order, with the index and the worker that were given."""
        told: list[Asked] = []
        self.autoscaler = SimulatedAutoscaler(self.clock, signer=SIGNER, on_route=told.append)
        self.caller = Caller(self, self.autoscaler.resource())
        self.route(cost=2)
        self.ready(1)
        self.route(cost=2, request_idx=1)
        self.route("wrong")
        waited, assigned = told
        self.assertEqual((waited.request_idx, waited.answered_idx, waited.cost, waited.url), (0, 1, 2, ""))
        self.assertEqual((assigned.request_idx, assigned.answered_idx, assigned.url), (1, 1, "http://127.0.0.1:1"))

    def test_again(self) -> None:
        """A request that asks again gets another worker if one is ready, else the same, signed anew."""
        self.ready(1, 2)
        self.autoscaler.signs = "full"
        responses = [self.route().json]
        responses += [self.route(request_idx=1).json for _ in range(2)]
        self.assertEqual([response["url"][-1] for response in responses], ["1", "2", "1"])
        self.assertEqual([response["request_idx"] for response in responses], [1, 1, 1])
        self.assertEqual(len({response["reqnum"] for response in responses}), 3)
        self.assertEqual(len({response["signature"] for response in responses}), 3)
        self.autoscaler.totals.of(2).gone = True
        self.assertEqual(self.route(request_idx=1).json["url"][-1], "1")
        self.assertEqual(self.autoscaler.ledger()["assigned_to"], {"1": [1, 2, 1, 1]})

    def test_died(self) -> None:
        """A request whose worker died is told by the second alone, and the totals add up; told by both they do not."""
        self.ready(1, 2)
        self.route(cost=5)
        self.report(id=1, new_load=5.0, cur_load=5.0, num_requests_recieved=1, working_request_idxs=[1])
        self.route(cost=5, request_idx=1)
        self.report(id=2, new_load=5.0, cur_perf=5.0, num_requests_recieved=1, url="http://127.0.0.1:2")
        self.caller.post_json("/delete_requests/", deletes(True, (1, "Success"), worker_id=2))
        self.assertTrue(self.autoscaler.ledger()["adds_up"])
        self.assertEqual(self.autoscaler.totals.finished(), {1: [2]})
        self.caller.post_json("/delete_requests/", deletes(True, (1, "Cancelled"), worker_id=1))
        self.assertEqual(self.autoscaler.ledger()["twice"], [1])
        self.assertFalse(self.autoscaler.ledger()["adds_up"])


class ReportTests(AutoscalerCase):
    def test_booked(self) -> None:
        """A report is recorded, passed to `on_report`, and shown in the ledger."""
        self.autoscaler.assign(URL, 5.0)
        self.assertEqual(self.report(new_load=5.0, cur_perf=5.0, num_requests_recieved=1).status, 200)
        self.assertEqual(self.caller.post_json("/delete_requests/", deletes(True, (1, "Success"))).status, 200)
        self.assertEqual(len(self.reports), 2)
        ledger = self.caller.ask("GET", "/ledger").json
        worker = ledger["workers"]["7"]
        self.assertEqual((worker["received"], worker["served"], worker["in_flight"]), (5.0, 5.0, 0.0))
        self.assertEqual((worker["deletes"], worker["adds_up"]), ({"1": ["Success"]}, True))
        self.assertEqual((ledger["assigned"], ledger["malformed"]), ({"1": 5.0}, []))

    def test_malformed(self) -> None:
        """A malformed report is 400, changes no totals, and is kept for people to see."""
        self.assertEqual(self.report(cur_load="much").status, 400)
        self.assertEqual(self.autoscaler.totals.workers, {})
        (problem,) = self.autoscaler.ledger()["malformed"]
        self.assertIn("$.cur_load", problem)
        self.assertIsInstance(self.reports[0], Malformed)

    def test_content_type(self) -> None:
        """A report that does not say that it is JSON is malformed."""
        self.assertEqual(self.caller.ask("POST", "/worker_status/", b"{}").status, 400)

    def test_token(self) -> None:
        """A report with another master token is 401 and changes no totals."""
        self.assertEqual(self.report(mtoken="other").status, 401)
        wrong = self.caller.post_json("/delete_requests/", deletes(True, (1, "Success"), mtoken="other"))
        self.assertEqual(wrong.status, 401)
        self.assertEqual(self.autoscaler.totals.workers, {})


class ConsoleTests(AutoscalerCase):
    def test_endpoints(self) -> None:
        """The console lists the endpoint to the account's key, and to no other."""
        listed = self.caller.ask("GET", "/api/v0/endptjobs/?client_id=me", Authorization="Bearer account-key").json
        (row,) = listed["results"]
        self.assertEqual((row["endpoint_name"], row["api_key"]), ("demo", "endpoint-key"))
        self.assertLessEqual({"id", "user_id", "created_at"}, set(row))
        self.assertEqual(self.caller.ask("GET", "/api/v0/endptjobs/", Authorization="Bearer endpoint-key").status, 401)
