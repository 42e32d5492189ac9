"""Tests of `vespa.worker.status`."""

from __future__ import annotations

import json
from typing import Any, cast

from attrs import define, evolve
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.fakes import Asked, FakeAgent
from tests.observability.example import Example
from tests.observability.test_status import documented
from tests.rig import GET, Rig
from tests.worker.readiness.test_monitor import Backend, Benchmark, Cache
from vespa.accounting.workload import MICROS
from vespa.benchmarking.contract import Figure
from vespa.config.effective import effective
from vespa.config.schema import rows
from vespa.config.worker import WorkerSettings
from vespa.observability.recent_requests import RecentRequests
from vespa.observability.status import STOPPING, StatusDocument
from vespa.protocol.affinity_key import AffinityKey
from vespa.runtime.http_client import BoundedClient
from vespa.transport.certificates import Certificate
from vespa.vast.status_report import Identity
from vespa.worker.backends.affinity import Affinity
from vespa.worker.keyring import Keyring
from vespa.worker.optional_parts import OptionalParts
from vespa.worker.readiness.monitor import ReadinessMonitor
from vespa.worker.reporter import Reporter
from vespa.worker.reporting_client import ReportingClient
from vespa.worker.status import LINES, WorkerStatus, model_name
from vespa.worker.usage.meter import UsageMeter
from vespa.worker.usage.recalibration import Recalibration

ADDRESS = "http://autoscaler.example"
SECRET = "secret-0123456789"


@define
class FakeCertificate:
    """A certificate that expires when the test likes."""

    file: str = "/etc/instance.crt"
    ends: float = 0.0
    problem = Certificate.problem


class StatusTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.rig = Rig(max_wait=10.0, concurrency=2, max_queue=3, max_sessions=10)
        self.clock: Clock = self.rig.clock
        self.began = self.clock.seconds()
        self.backend = Backend(self.clock)
        self.benchmark = Benchmark()
        self.monitor = ReadinessMonitor(
            self.clock,
            probe=self.backend.probe,
            run_benchmark=self.benchmark.run,
            cache=Cache(),
            secured=True,
            on_ready=lambda figure: None,
            random=lambda: 0.0,
        )
        self.agent = FakeAgent()
        self.autoscaler = ReportingClient(
            [ADDRESS], BoundedClient(self.agent, self.clock), random=lambda: 0.0, max_retries=1
        )
        self.status = WorkerStatus(
            clock=self.clock,
            readiness=self.monitor,
            admission=self.rig.app.admission,
            pools=[self.rig.pool],
            server=self.rig.server,
            tunnels=self.rig.app.proxy.tunnels,
            autoscaler=self.autoscaler,
            backend_url="http://backend:8000",
            optional=OptionalParts(sessions=self.rig.sessions),
        )

    def texts(self, severity: str) -> list[str]:
        return [each["text"] for each in self.status.facts()["problems"] if each["severity"] == severity]

    def ready(self) -> None:
        self.monitor.startService()
        self.benchmark.runs[0].callback(Figure(0.5, 4, json.dumps({"id": "llama"})))
        self.rig.gate.throughput = 0.5

    def answer(self, status: int | None) -> None:
        """The autoscaler answers with this, or not at all."""

        def on_request(asked: Asked) -> None:
            asked.answer(status or 200) if status else asked.fail(ConnectionError("nobody there"))

        self.agent.on_request = on_request

    def reporter(self) -> Reporter:
        return Reporter(
            self.autoscaler,
            self.rig.ledger,
            self.monitor.condition,
            Identity(7, SECRET, "1.0", "https://1.2.3.4:5"),
            self.clock,
            random=lambda: 0.0,
            disk_usage=lambda: 1.0,
        )

    def test_affinity(self) -> None:
        """The requests with the value of affinity and without; where none has it, the worker says so."""
        affinity = Affinity(AffinityKey.parse("json:user"))
        status = evolve(self.status, optional=OptionalParts(affinity=affinity))
        affinity.found, affinity.missing = 3, 120
        facts = status.facts()
        self.assertEqual((facts["affinity_found_total"], facts["affinity_missing_total"]), (3, 120))
        self.assertEqual(facts["problems"], [])
        affinity.found = 0
        [problem] = status.facts()["problems"]
        self.assertIn("none of 120 requests had this value", problem["text"])
        self.assertEqual(set(facts) - set(self.status.facts()), {"affinity_found_total", "affinity_missing_total"})
        self.assertEqual(sorted(set(facts) - documented()), [])

    def test_before_the_start(self) -> None:
        """Everything can be read before anything has happened, and the guide names each member."""
        facts = self.status.facts()
        self.assertEqual(sorted(set(facts) - documented()), [])
        self.assertEqual(set(Example("worker").facts()), set(facts), "the page's tests show the same members")
        json.dumps(facts)
        self.assertEqual((facts["probe_at"], facts["benchmark_throughput"], facts["problems"]), (None, None, []))
        self.assertEqual((facts["reports"], facts["key_needed"], facts["certificate_expires_at"]), (False, False, None))
        self.assertIsNone(facts["estimated_wait_seconds"], "the backend is not measured")

    def test_loading(self) -> None:
        """While the backend loads, the probe's cause is the reason of the state."""
        self.backend.trouble = "no server listens"
        self.monitor.startService()
        newest = self.status.states.newest
        assert newest is not None
        self.assertEqual((newest.state, newest.reason), ("loading", "no server listens"))
        facts = self.status.facts()
        self.assertEqual((facts["probe_at"], facts["probe_trouble"]), (self.began, "no server listens"))

    def test_benchmark(self) -> None:
        """The benchmark's last lines are there while it runs, and then its figure, level and model."""
        self.monitor.startService()
        self.monitor.history.progress.extend(f"line {number}" for number in range(15))
        facts = self.status.facts()
        self.assertEqual(facts["benchmark_lines"], [f"line {number}" for number in range(15 - LINES, 15)])
        self.clock.advance(3.0)
        self.benchmark.runs[0].callback(Figure(50.0, 4, json.dumps({"id": "llama"})))
        facts = self.status.facts()
        self.assertEqual((facts["benchmark_throughput"], facts["benchmark_concurrency"]), (50.0, 4))
        self.assertEqual((facts["benchmark_model"], facts["benchmark_measured_at"]), ("llama", self.began + 3.0))

    def test_usage(self) -> None:
        """The estimated throughput, and what responses reported."""
        off = self.status.facts()
        self.assertEqual((off["throughput_estimate"], off["usage_read"], off["usage_measured_total"]), (None, False, 0))
        usage = UsageMeter(self.rig.ledger, "completion")
        usage.measured, usage.unmeasured, usage.measured_work, usage.signed_work = 3, 2, 30 * MICROS, 400 * MICROS
        estimate = Recalibration(
            self.clock, self.rig.gate, self.rig.ledger, lambda: self.monitor.throughput, measures=True
        )
        status = evolve(self.status, optional=OptionalParts(usage=usage, recalibration=estimate))
        self.assertIsNone(status.facts()["throughput_estimate"], "there is no benchmark yet")
        self.ready()
        estimate.factor, estimate.admission_factor = 1.5, 0.5
        facts = status.facts()
        figures = [facts[name] for name in ("benchmark_throughput", "throughput_estimate", "admission_throughput")]
        self.assertEqual(figures, [0.5, 0.75, 0.25])
        found = [
            facts[f"usage_{name}"] for name in ("measured_total", "unmeasured_total", "measured_work", "signed_work")
        ]
        self.assertEqual((facts["usage_read"], found), (True, [3, 2, 30.0, 400.0]))

    def test_load(self) -> None:
        """Load, queue and the estimated wait are those of the gate, at its own arithmetic."""
        self.ready()
        for _ in range(3):
            self.rig.ask(GET)
        expected = {"load": 3.0, "estimated_wait_seconds": 6.0, "requests_in_flight": 2, "requests_queued": 1}
        self.assertEqual(dict(self.status.measure()), expected)
        self.assertEqual(self.rig.gate.estimated_wait(self.rig.ledger.load), 6.0)
        facts = self.status.facts()
        self.assertEqual({name: facts[name] for name in expected}, expected)
        self.assertEqual(
            (facts["estimated_wait_limit_seconds"], facts["queue_limit"], facts["concurrency_limit"]), (10.0, 3, 2)
        )
        self.assertEqual((facts["client_connections"], facts["backend_connections_open"]), (3, 2))
        self.assertEqual(self.texts("warning"), [])

    def test_too_much_load(self) -> None:
        """A wait above the limit and a full queue are told: the next request is refused."""
        self.ready()
        self.rig.gate.throughput = 0.1
        self.rig.ask(GET)
        self.rig.ask(GET)
        (wait,) = self.texts("warning")
        self.assertIn("the estimated wait of 20.0 s is above the limit of 10 s (VESPA_MAX_WAIT_TIME)", wait)
        self.rig.gate.throughput = 100.0
        for _ in range(3):
            self.rig.ask(GET)
        (queue,) = self.texts("warning")
        self.assertIn("the queue holds 3, as many as VESPA_MAX_QUEUE allows", queue)

    def test_key(self) -> None:
        """Without a key the reason is told, until there is one."""
        keyring = Keyring(self.autoscaler, self.clock, "any", random=lambda: 0.0)
        self.status = evolve(self.status, keyring=keyring)
        self.assertIn("it is being fetched", self.texts("error")[0])
        self.answer(500)
        keyring.startService()
        facts = self.status.facts()
        self.assertEqual((facts["key_needed"], facts["key_fetched"]), (True, False))
        self.assertEqual(facts["key_trouble"], f"{ADDRESS}: answered 500")
        self.assertIn(f"no public key of the autoscaler: {ADDRESS}: answered 500", self.texts("error")[0])

    def test_refused_callers(self) -> None:
        """Requests that were refused by their signature are counted by cause."""
        keyring = Keyring(self.autoscaler, self.clock, "any", random=lambda: 0.0)
        keyring.bad_signatures, keyring.without_key = 3, 2
        admission = self.rig.app.admission
        admission.wrong_urls, admission.replays = 4, 5
        facts = evolve(self.status, keyring=keyring).facts()
        names = ("bad_signature", "without_key", "wrong_url")
        self.assertEqual([facts[f"refused_{name}_total"] for name in names], [3, 2, 4])
        self.assertEqual(facts["replays_total"], 5)
        self.assertEqual(self.status.facts()["refused_bad_signature_total"], 0, "requests need no signature")

    def test_autoscaler(self) -> None:
        """Deliveries and failures are told; a failure is a warning at first, and an error when reports are overdue."""
        reporter = self.reporter()
        self.status = evolve(self.status, reporter=reporter)
        self.answer(None)
        reporter.startService()
        self.assertIn("has not taken any report yet", self.texts("error")[0])
        self.assertIn("nobody there", self.texts("error")[0])
        self.answer(200)
        self.clock.pump([0.5] * 10)
        facts = self.status.facts()
        self.assertEqual((facts["problems"], facts["report_troubles"]), ([], []))
        self.assertEqual((facts["report_addresses"], facts["reports_failed_total"]), ([ADDRESS], 1))
        self.assertIsNone(facts["reports_undelivered_since_at"])
        delivered_at = facts["reports_delivered_at"]
        self.assertGreater(delivered_at, self.began)
        self.answer(503)
        self.clock.pump([0.5] * 24)
        self.assertEqual(self.texts("error"), [])
        (warning,) = self.texts("warning")
        self.assertIn(f"Some calls of the autoscaler fail: {ADDRESS}/worker_status/: answered 503", warning)
        self.clock.pump([0.5] * 60)
        (error,) = self.texts("error")
        self.assertIn("has taken no report for ", error)
        self.assertEqual(self.status.facts()["reports_delivered_at"], delivered_at)

    def test_certificate(self) -> None:
        """A certificate's expiry is told, a week before as a warning, and then as an error."""
        certificate = FakeCertificate()
        self.status = evolve(self.status, certificate=cast(Certificate, certificate))
        for days, errors, warnings in ((8.0, 0, 0), (6.0, 0, 1), (-1.0, 1, 0)):
            certificate.ends = self.began + days * 86400
            self.assertEqual((len(self.texts("error")), len(self.texts("warning"))), (errors, warnings), days)
        self.assertIn("expired on 2023-11-13 22:13 UTC", self.texts("error")[0])
        self.assertEqual(self.status.facts()["certificate_expires_at"], certificate.ends)
        certificate.ends = float("inf")
        self.assertEqual(self.status.facts()["problems"], [], "an expiry that is not known")

    def test_errors_first(self) -> None:
        """Errors stand before warnings."""
        self.ready()
        self.rig.gate.throughput = 0.01
        self.rig.ask(GET)
        self.status = evolve(self.status, obstacle=lambda: "nobody can reach it")
        severities = [each["severity"] for each in self.status.facts()["problems"]]
        self.assertEqual(severities, ["error", "warning"])
        self.assertEqual(self.texts("error"), ["nobody can reach it"])

    def test_stopping(self) -> None:
        """A worker that drains says so."""
        self.rig.server.drain()
        self.assertEqual(self.texts("warning"), [STOPPING])

    def test_no_secret(self) -> None:
        """With a secret in every setting, and in what the backend and the autoscaler say, none is in the document."""
        given: dict[str, Any] = {row.attribute: SECRET for row in rows(WorkerSettings) if row.secret}
        settings = WorkerSettings(**given)
        self.backend.trouble = f"the backend rejects Bearer {SECRET}"
        self.answer(500)
        self.autoscaler.troubles[ADDRESS] = f"said {SECRET}"
        self.status = evolve(self.status, reporter=self.reporter(), backend_url="http://backend")
        self.monitor.startService()
        self.monitor.history.progress.append(f"key {SECRET}")
        document = StatusDocument(
            self.status,
            RecentRequests(lambda ended: {}),
            self.clock,
            version="1",
            settings=effective(settings),
            secrets=[SECRET],
        )
        for found in (document.document(), document.event()):
            text = json.dumps(found, allow_nan=False)
            self.assertNotIn(SECRET, text)
            self.assertIn("[hidden]", text)

    def test_size_of_an_event(self) -> None:
        """An event is small, with all that a worker has."""
        self.status = evolve(
            self.status,
            reporter=self.reporter(),
            certificate=cast(Certificate, FakeCertificate()),
            keyring=Keyring(self.autoscaler, self.clock, "any", random=lambda: 0.0),
        )
        self.ready()
        document = StatusDocument(self.status, RecentRequests(lambda ended: {}), self.clock, version="1")
        for _ in range(5):
            self.clock.advance(1.0)
            document.tick()
        self.assertLess(len(json.dumps(document.event())), 3000)


class ModelNameTests(SynchronousTestCase):
    def test_names(self) -> None:
        """The name is the id; a digest, an odd text and nothing have none."""
        found = [model_name(text) for text in ('{"id": "a"}', "sha256:00", "", "[]", '{"id": 3}', "{}")]
        self.assertEqual(found, ["a", "", "", "", "", ""])
