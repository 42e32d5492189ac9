"""Tests of `vespa.simulator.autoscaler`, its faults and its console."""

from __future__ import annotations

from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.simulator.caller import Caller, Response, deletes, worker_status
from vespa.simulator.autoscaler import Report, SimulatedAutoscaler
from vespa.simulator.fields import Malformed
from vespa.simulator.routing import Asked
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
        """A key opens its own endpoint alone, must be the same in header and body, and can be replaced."""
        self.autoscaler.console.add("other", "other-key")
        self.assertEqual(self.route(endpoint="other").status, 401)
        self.assertEqual(self.route(api_key="other-key").status, 401)
        self.assertEqual(self.route("other-key", endpoint="other").status, 200)
        self.assertEqual(self.route("other-key", endpoint="none").status, 400)
        self.autoscaler.console.change("demo", api_key="new-key")
        self.assertEqual([self.route().status, self.route("new-key").status], [401, 200])

    def test_stopped(self) -> None:
        """A stopped endpoint has no worker to give, and says why."""
        self.ready(1)
        self.autoscaler.console.change("demo", endpoint_state="stopped")
        self.assertEqual(self.route().json["status"], "endpoint is stopped")

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

    def test_hold(self) -> None:
        """A hold begins with the first question, and for so long a ready worker is given to nobody."""
        self.ready(1)
        self.autoscaler.hold(2.0)
        self.clock.advance(5.0)
        first = self.route().json
        self.assertIn("loading workers: 1", first["status"])
        self.clock.advance(1.9)
        self.assertNotIn("url", self.route(request_idx=first["request_idx"]).json)
        self.clock.advance(0.1)
        self.assertIn("url", self.route(request_idx=first["request_idx"]).json)

    def test_recorded(self) -> None:
        """What was asked is kept in order, with the index and the worker that were given."""
        told: list[Asked] = []
        self.autoscaler = SimulatedAutoscaler(self.clock, signer=SIGNER, on_route=told.append)
        self.caller = Caller(self, self.autoscaler.resource())
        self.route(cost=2)
        self.ready(1)
        self.route(cost=2, request_idx=1)
        self.route("wrong")
        waited, assigned = self.autoscaler.routes
        self.assertEqual((waited.request_idx, waited.answered_idx, waited.cost, waited.url), (0, 1, 2, ""))
        self.assertEqual((assigned.request_idx, assigned.answered_idx, assigned.url), (1, 1, "http://127.0.0.1:1"))
        self.assertEqual(self.autoscaler.routes.of(1), [waited, assigned])
        self.assertEqual(told, [waited, assigned])

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
        """A report is booked, told to `on_report`, and shown in the ledger."""
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
        self.assertEqual(self.autoscaler.ledger()["malformed"], [{"cur_load": "not a number of 0 or more"}])
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


class FaultTests(AutoscalerCase):
    def test_refuse(self) -> None:
        """Refusals last for so many calls, and a refused report is not booked."""
        self.autoscaler.faults.plan("refuse", 2, status=500)
        self.assertEqual([self.report().status for _ in range(3)], [500, 500, 200])
        self.assertEqual((self.autoscaler.totals.of(7).reports, self.autoscaler.faults.met), (1, 2))

    def test_plain(self) -> None:
        """A 429 is plain text and says nothing of when to come again; a 5xx is so where it is asked to be."""
        self.autoscaler.faults.plan("refuse", 1, status=429)
        self.autoscaler.faults.plan("refuse", 1, status=502, plain=True)
        self.autoscaler.faults.plan("refuse", 1, status=500)
        busy, bad, error = (self.route() for _ in range(3))
        self.assertEqual((busy.status, busy.content_type, busy.body), (429, "text/plain", b"Too Many Requests\n"))
        self.assertEqual((bad.status, bad.content_type), (502, "text/plain"))
        self.assertEqual((error.status, error.content_type), (500, "application/json"))

    def test_wait(self) -> None:
        """So many questions are told to wait, whatever is ready, and no other call is met."""
        self.autoscaler.faults.plan("wait", 2)
        self.ready(1)
        self.assertEqual(["url" in self.route().json for _ in range(3)], [False, False, True])

    def test_paths(self) -> None:
        """Faults may be for some paths only, and are cleared at once."""
        self.autoscaler.faults.plan("refuse", float("inf"), paths={"/worker_status/"})
        self.assertEqual(self.caller.ask("GET", "/pubkey/").status, 200)
        self.assertEqual(self.report().status, 503)
        self.autoscaler.faults.clear()
        self.assertEqual(self.report().status, 200)

    def test_hang(self) -> None:
        """A call that hangs is never answered nor booked, and the next one is."""
        self.autoscaler.faults.plan("hang")
        hanging = self.caller.start("GET", "/pubkey/")
        self.caller.stub.flush()
        self.assertNoResult(hanging)
        self.assertEqual(self.report().status, 200)

    def test_drop(self) -> None:
        """A dropped connection ends the call without a response."""
        self.autoscaler.faults.plan("drop")
        dropped = self.caller.start("GET", "/pubkey/")
        self.caller.stub.flush()
        self.failureResultOf(dropped)


class ConsoleTests(AutoscalerCase):
    def test_endpoints(self) -> None:
        """The console lists the endpoint to the account's key, as a bearer or a parameter, and to no other."""
        listed = self.caller.ask("GET", "/api/v0/endptjobs/?client_id=me", Authorization="Bearer account-key").json
        (row,) = listed["results"]
        self.assertEqual((row["endpoint_name"], row["api_key"]), ("demo", "endpoint-key"))
        self.assertLessEqual({"id", "user_id", "created_at"}, set(row))
        one = self.caller.ask("GET", f"/api/v0/endptjobs/{row['id']}/?api_key=account-key").json
        self.assertEqual(one["result"], row)
        self.assertEqual(self.caller.ask("GET", "/api/v0/endptjobs/2/?api_key=account-key").status, 404)
        self.assertEqual(self.caller.ask("GET", "/api/v0/endptjobs/?api_key=endpoint-key").status, 401)

    def test_instances(self) -> None:
        """Endpoints are listed by the autoscaler they belong to, prod where none is named; there are three."""
        self.autoscaler.console.add("idle", "idle-key", state="stopped")
        self.autoscaler.console.add("new", "new-key", instance="alpha")

        def listed(query: str) -> dict[str, str]:
            path = f"/api/v0/endptjobs/{query}"
            rows = self.caller.ask("GET", path, Authorization="Bearer account-key").json["results"]
            return {row["endpoint_name"]: row["endpoint_state"] for row in rows}

        self.assertEqual(listed(""), {"demo": "active", "idle": "stopped"})
        self.assertEqual(listed("?autoscaler_instance=prod"), listed(""))
        self.assertEqual(listed("?autoscaler_instance=alpha"), {"new": "active"})
        self.assertEqual(listed("?autoscaler_instance=candidate"), {})
        other = self.caller.ask("GET", "/api/v0/endptjobs/?autoscaler_instance=x&api_key=account-key")
        self.assertEqual(other.status, 400)

    def test_workers(self) -> None:
        """The workers of the endpoint are listed with their state and load."""
        self.report(loadtime=1.0, cur_load=3.0, num_requests_working=1)
        (worker,) = self.caller.post_json("/get_endpoint_workers/", {"id": 1, "api_key": "account-key"}).json
        self.assertEqual((worker["id"], worker["status"], worker["cur_load"]), (7, "ready", 3.0))

    def test_certificates(self) -> None:
        """A certificate is signed by the root that the console serves, and names the worker's address."""
        root = x509.load_pem_x509_certificate(self.caller.ask("GET", "/static/jvastai_root.cer").body)
        key, pem = self.autoscaler.console.authority.issue("127.0.0.1")
        certificate = x509.load_pem_x509_certificate(pem)
        root_key = root.public_key()
        assert isinstance(root_key, RSAPublicKey) and certificate.signature_hash_algorithm is not None
        root_key.verify(
            certificate.signature, certificate.tbs_certificate_bytes, PKCS1v15(), certificate.signature_hash_algorithm
        )
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        self.assertEqual([str(address) for address in names.get_values_for_type(x509.IPAddress)], ["127.0.0.1"])
        self.assertEqual(load_pem_private_key(key, None).public_key(), certificate.public_key())

    def test_signing_requests(self) -> None:
        """A signing request must be one, and be sent as octets."""
        for content_type in ("application/octet-stream", "text/plain"):
            refused = self.caller.ask("POST", "/api/v0/sign_cert/?instance_id=7", b"x", Content_Type=content_type)
            self.assertEqual(refused.status, 400)
