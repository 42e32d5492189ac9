"""Tests of what the simulated autoscaler does for tests: faults, holds, certificates, other deletes."""

from __future__ import annotations

from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.simulator.test_autoscaler import SIGNER, AutoscalerCase
from tests.simulator_support.autoscaler import ControlledAutoscaler
from tests.simulator_support.caller import Caller, deletes


class ControlledCase(AutoscalerCase):
    autoscaler: ControlledAutoscaler

    def setUp(self) -> None:
        super().setUp()
        self.autoscaler = ControlledAutoscaler(
            self.clock, signer=SIGNER, master_token="token", on_report=self.reports.append
        )
        self.caller = Caller(self, self.autoscaler.resource())


class FaultTests(ControlledCase):
    def test_refuse(self) -> None:
        """Refusals last for so many calls, and a refused report is not booked."""
        self.autoscaler.faults.plan("refuse", 2, status=500)
        self.assertEqual([self.report().status for _ in range(3)], [500, 500, 200])
        self.assertEqual((self.autoscaler.totals.of(7).reports, self.autoscaler.faults.met), (1, 2))

    def test_plain(self) -> None:
        """A 429 is plain text and says nothing of when to come again; other refusals are JSON."""
        self.autoscaler.faults.plan("refuse", 1, status=429)
        self.autoscaler.faults.plan("refuse", 1, status=500)
        busy, error = self.route(), self.route()
        self.assertEqual((busy.status, busy.content_type, busy.body), (429, "text/plain", b"Too Many Requests\n"))
        self.assertEqual((error.status, error.content_type), (500, "application/json"))

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


class ControlTests(ControlledCase):
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
        """What was asked is kept in order, and found by the index of the request."""
        self.route(cost=2)
        self.ready(1)
        self.route(cost=2, request_idx=1)
        self.route("wrong")
        waited, assigned = self.autoscaler.routes
        self.assertEqual((waited.url, assigned.url), ("", "http://127.0.0.1:1"))
        self.assertEqual(self.autoscaler.routes.of(1), [waited, assigned])

    def test_certificates(self) -> None:
        """A certificate is signed by the root that the console serves, and names the worker's address."""
        root = x509.load_pem_x509_certificate(self.caller.ask("GET", "/static/jvastai_root.cer").body)
        key, pem = self.autoscaler.authority.issue("127.0.0.1")
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


class OfficialDeleteTests(ControlledCase):
    def tell(self, body: dict[str, Any]) -> int:
        self.autoscaler.official_workers = True
        return self.caller.post_json("/delete_requests/", body).status

    def body(self, *requests: tuple[int, str]) -> dict[str, Any]:
        records = [
            record
            for idx, status in requests
            for record in deletes(status in ("Success", "Cancelled"), (idx, status))["requests"]
        ]
        return {"worker_id": 7, "mtoken": "token", "requests": records}

    def test_right(self) -> None:
        """Vast's own worker tells good and bad in one report; each is read as ours would tell it."""
        self.assertEqual(self.tell(self.body((1, "Success"), (2, "Error"), (3, "Cancelled"))), 200)
        told = {report.success: list(report.request_idxs) for report in self.reports}  # type: ignore[union-attr]
        self.assertEqual(told, {True: [1, 3], False: [2]})

    def test_wrong(self) -> None:
        """What does not agree with itself is refused, and so is what ours adds for older readers."""
        body = self.body((1, "Success"))
        body["requests"][0]["success"] = False
        self.assertEqual(self.tell(body), 400)
        self.assertIn("$.requests[0]", str(self.autoscaler.malformed[0]))
        self.assertEqual(self.tell(deletes(True, (1, "Success"))), 400)
        self.assertIn("unknown field", str(self.autoscaler.malformed[1]))
