"""The status of a real worker, as programs read it: what happens to the worker is in `/status.json`."""

from __future__ import annotations

from typing import Any

from tests.system.certificates import Pair
from tests.system.test_admin_port import ANY_PORT, AdminPortCase


def named(document: dict[str, Any], word: str) -> list[dict[str, str]]:
    """The problems that name this. On a busy machine there may be another: that the event loop is late."""
    return [problem for problem in document["problems"] if word in problem["text"]]


class StatusTests(AdminPortCase):
    async def test_worker(self) -> None:
        """Requests, reports, key, certificate and an autoscaler that fails are told, each where it belongs."""
        pair = Pair(self.folder)
        self.trust = pair.certificate
        tls = {"VESPA_USE_SSL": "true", "VESPA_SSL_CERT_FILE": pair.cert_file, "VESPA_SSL_KEY_FILE": pair.key_file}
        worker = await self.start_worker(VESPA_ADMIN_LISTEN=ANY_PORT, **tls)
        port = await self.admin_port(worker)
        peer, served = await self.call("/echo", {}, cost=12.5)
        self.assertEqual((await peer.answer()).status, 200)
        forged = {**self.assign(), "signature": "AAAA"}
        peer, _ = await self.call("/echo", {}, auth=forged)
        self.assertEqual((await peer.answer()).status, 401)

        document = await self.until_status(port, lambda found: len(found["requests"]) == 2)
        self.assertEqual((document["kind"], document["state"]), ("worker", "ready"))
        one, other = document["requests"]
        self.assertEqual(
            (one["outcome"], one["status"], one["request_idx"], one["cost"]), ("served", 200, served, 12.5)
        )
        self.assertEqual((other["outcome"], other["code"], other["origin"]), ("refused", "bad_signature", "client"))
        self.assertEqual([row["number"] for row in document["failures"]], [other["number"]])
        self.assertEqual(document["refused_bad_signature_total"], 1)
        self.assertEqual((document["key_needed"], document["key_fetched"]), (True, True))
        self.assertEqual(document["benchmark_throughput"], 1000.0)
        self.assertIsNone(document["benchmark_measured_at"], "it is a stored figure")
        self.assertGreater(document["reports_delivered_total"], 0)
        self.assertEqual(document["certificate_file"], pair.cert_file)
        (problem,) = named(document, "certificate")
        self.assertEqual(problem["severity"], "warning")
        self.assertIn(f"The certificate {pair.cert_file} expires on", problem["text"])

        self.autoscaler.faults.plan("refuse", float("inf"))
        document = await self.until_status(port, lambda found: named(found, "autoscaler"))
        text = named(document, "autoscaler")[0]["text"]
        self.assertIn(f"{self.deployed.autoscaler_url}/worker_status/: answered 503", text)
        self.autoscaler.faults.clear()
        await self.until_status(port, lambda found: not named(found, "autoscaler"))
        await self.end_well(worker)
