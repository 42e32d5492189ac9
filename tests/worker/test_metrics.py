"""The metrics of a whole worker in memory."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.observability.metered import WorkerInMemory, requests, samples
from tests.rig import CHUNKED, GET, OK, Rig, post
from tests.seeds import examples
from tests.worker.requests import envelope
from vespa.accounting.workload import MICROS
from vespa.benchmarking.contract import Figure
from vespa.protocol.affinity_key import AffinityKey
from vespa.transport.origin import Origin
from vespa.worker.metrics import STATES
from vespa.worker.readiness.monitor import ReadinessMonitor


class WorkerMetricsTests(SynchronousTestCase):
    def test_served(self) -> None:
        """A request that is served is counted with its work in units of cost, its bytes and its times."""
        worker = WorkerInMemory(secured=True)
        asked = post(envelope(b"1"))
        client = worker.rig.ask(asked)
        now = worker.scrape()
        self.assertEqual(now["vespa_requests_in_flight"], 1)
        self.assertEqual(now["vespa_workload_in_flight"], 2.5)
        self.assertEqual(now['vespa_workload_total{kind="received"}'], 2.5)
        self.assertEqual(now['vespa_workload_total{kind="served"}'], 0)
        worker.clock.advance(0.5)
        worker.rig.backend.wire.send(OK)
        client.read()
        now = worker.scrape()
        self.assertEqual(now[requests("served")], 1)
        self.assertEqual(now["vespa_workload_in_flight"], 0)
        self.assertEqual(now['vespa_workload_total{kind="served"}'], 2.5)
        self.assertEqual(now['vespa_bytes_total{direction="in"}'], len(asked))
        self.assertEqual(now['vespa_bytes_total{direction="out"}'], len(OK))
        for name in ("vespa_request_duration_seconds", "vespa_time_to_first_byte_seconds"):
            self.assertEqual((now[f"{name}_count"], now[f"{name}_sum"]), (1, 0.5))
        self.assertEqual(now["vespa_completions_pending"], 1)

    def test_reuse(self) -> None:
        """A connection is opened for the first request, and used again for the others."""
        worker = WorkerInMemory()
        client = worker.rig.client()
        for _ in range(3):
            client.send(GET)
            worker.rig.backend.wire.send(OK)
        now = worker.scrape()
        self.assertEqual(now["vespa_backend_connections_opened_total"], 1)
        # In memory a connection takes no time, which is how a kept one looks.
        self.assertIn(now["vespa_backend_connections_reused_total"], (2, 3))

    def test_queue(self) -> None:
        """What waits and is refused is counted as rejected work, what the caller left as cancelled work."""
        worker = WorkerInMemory(secured=True, concurrency=1, max_queue=1, queue_seconds=5.0)
        first = worker.rig.ask(post(envelope(b"1", request_idx=1)))
        worker.rig.ask(post(envelope(b"1", request_idx=2)))
        worker.rig.ask(post(envelope(b"1", request_idx=3)))
        for _ in range(12):
            worker.clock.advance(0.5)
        first.hang_up()
        now = worker.scrape()
        self.assertEqual(now[requests("refused", "queue_full", "vespa")], 1)
        self.assertEqual(now[requests("refused", "queue_timeout", "vespa")], 1)
        self.assertEqual(now[requests("cancelled", "", "client")], 1)
        kinds = {kind: now[f'vespa_workload_total{{kind="{kind}"}}'] for kind in ("received", "rejected", "cancelled")}
        self.assertEqual(kinds, {"received": 5.0, "rejected": 5.0, "cancelled": 2.5})

    def test_estimated_wait(self) -> None:
        """The estimated wait is the load over the measured throughput, beside its limit; unknown before it."""
        worker = WorkerInMemory(secured=True, max_wait=10.0)
        worker.rig.ask(post(envelope(b"1")))
        now = worker.scrape()
        self.assertNotIn("vespa_estimated_wait_seconds", now)
        self.assertEqual((now["vespa_benchmark_throughput"], now["vespa_benchmark_concurrency"]), (0, 0))
        worker.rig.gate.throughput = Figure(5.0, 8)
        now = worker.scrape()
        self.assertEqual(now["vespa_estimated_wait_seconds"], 0.5)
        self.assertEqual(now["vespa_estimated_wait_limit_seconds"], 10.0)
        self.assertEqual((now["vespa_benchmark_throughput"], now["vespa_benchmark_concurrency"]), (5, 8))

    def test_state(self) -> None:
        """Exactly one state is 1."""
        worker = WorkerInMemory()
        for state in STATES:
            worker.readiness.state = state
            now = worker.scrape()
            found = {name: now[f'vespa_state{{state="{name}"}}'] for name in STATES}
            self.assertEqual(found, {name: float(name == state) for name in STATES})

    def test_states_are_all(self) -> None:
        """The monitor has no other state."""
        self.assertIn(ReadinessMonitor.state, STATES)

    def test_signatures(self) -> None:
        """Failures of signatures are counted by reason, where each is found."""
        worker = WorkerInMemory(secured=True, replay="reject")
        worker.keyring.bad_signatures, worker.keyring.without_key = 3, 2
        worker.rig.ask(post(envelope(b"1", url="http://198.51.100.1:1")))
        client = worker.rig.ask(post(envelope(b"1")))
        worker.rig.backend.wire.send(OK)
        client.send(post(envelope(b"1")))
        now = worker.scrape()
        reasons = ("bad_signature", "no_key", "wrong_url", "replayed")
        found = [now[f'vespa_signature_failures_total{{reason="{reason}"}}'] for reason in reasons]
        self.assertEqual(found, [3, 2, 1, 1])
        self.assertEqual(now[requests("refused", "wrong_url", "client")], 1)

    def test_affinity(self) -> None:
        """Requests with the value of affinity and without are counted from 0; without affinity there are no samples."""
        origins = [Origin("http", "a", 1), Origin("http", "b", 2)]
        worker = WorkerInMemory(several=origins, affinity=AffinityKey.parse("json:user"))
        name = "vespa_affinity_requests_total"
        results = [f'{name}{{result="{result}"}}' for result in ("found", "missing")]
        now = worker.scrape()
        self.assertEqual([now[each] for each in results], [0, 0])
        for content in (b'{"user": "ann"}', b'{"user": "bob"}', b"{}"):
            worker.rig.ask(post(content))
        now = worker.scrape()
        self.assertEqual([now[each] for each in results], [2, 1])
        for other in (WorkerInMemory(several=origins), WorkerInMemory()):
            other.rig.ask(post(b'{"user": "ann"}'))
            self.assertFalse([each for each in other.scrape() if each.startswith(name)])

    def test_sessions(self) -> None:
        """Sessions are counted as they open, are refused and end, and so is what the backend is told at the end."""
        worker = WorkerInMemory(secured=True, max_sessions=1)
        for idx in (1, 2):
            content = envelope(b'{"on_close_route": "/end"}', request_idx=idx)
            worker.rig.ask(post(content, b"/session/create"))
        now = worker.scrape()
        self.assertEqual((now["vespa_sessions"], now["vespa_workload_in_flight"]), (1, 2.5))
        self.assertEqual(now[requests("refused", "too_many_sessions", "vespa")], 1)
        worker.clock.pump([5.0] * 13)
        worker.rig.backend.wire.send(OK)
        now = worker.scrape()
        results = ("opened", "refused", "ended", "expired", "drained", "lost")
        found = [now[f'vespa_sessions_total{{result="{result}"}}'] for result in results]
        self.assertEqual((now["vespa_sessions"], found), (0, [1, 1, 0, 1, 0, 0]))
        found = [now[f'vespa_session_callbacks_total{{result="{result}"}}'] for result in ("delivered", "failed")]
        self.assertEqual(found, [1, 0])

    def test_key(self) -> None:
        """Whether the autoscaler's key is known; nothing on a worker that needs none."""
        name = "vespa_public_key_known"
        worker = WorkerInMemory()
        self.assertEqual(worker.scrape()[name], 1)
        worker.keyring.has_key = False
        self.assertEqual(worker.scrape()[name], 0)
        unsecured = samples(worker.make_metrics(worker.reporter, None))
        self.assertNotIn(name, unsecured)
        self.assertEqual(unsecured['vespa_signature_failures_total{reason="no_key"}'], 0)

    def test_reports(self) -> None:
        """Deliveries and failures of both kinds, and the age of what is undelivered; zeros without reports."""
        worker = WorkerInMemory()
        worker.reporter.undelivered_since = worker.clock.seconds() - 12.0
        now = worker.scrape()
        for name, result, value in (
            ("reports", "delivered", 7),
            ("reports", "failed", 2),
            ("completion_reports", "delivered", 5),
            ("completion_reports", "failed", 1),
        ):
            self.assertEqual(now[f'vespa_{name}_total{{result="{result}"}}'], value)
        self.assertEqual(now["vespa_oldest_undelivered_seconds"], 12.0)
        silent = samples(worker.make_metrics(None, worker.keyring))
        self.assertEqual(silent['vespa_reports_total{result="delivered"}'], 0)
        self.assertEqual(silent["vespa_oldest_undelivered_seconds"], 0)

    def test_certificate(self) -> None:
        """When the certificate expires, in epoch seconds; nothing without one, or if it is unknown."""
        name = "vespa_certificate_expiry_timestamp_seconds"
        worker = WorkerInMemory()
        self.assertEqual(worker.scrape()[name], 1_800_000_000)
        for certificate in (None, SimpleNamespace(ends=float("inf"))):
            worker.certificate = certificate
            self.assertNotIn(name, samples(worker.make_metrics(worker.reporter, worker.keyring)))

    def test_usual_ends_are_there(self) -> None:
        """Before the first request, each usual end is counted as 0, so that the first one is a rise."""
        now = WorkerInMemory().scrape()
        for outcome, code, origin in (
            ("served", "", ""),
            ("refused", "busy", "vespa"),
            ("failed", "backend_unreachable", "backend"),
        ):
            self.assertEqual(now[requests(outcome, code, origin)], 0)


ask = st.sampled_from(["ask", "ask", "ask", "serve", "serve", "stream", "error", "lose", "leave", "bad"])


class LedgerTests(SynchronousTestCase):
    """Metrics and ledger count the same requests, each in its own way."""

    @settings(max_examples=examples(20))
    @given(st.lists(ask, min_size=5, max_size=30), st.integers(0, 3))
    def test_agree(self, steps: list[str], concurrency: int) -> None:
        """Whatever happens in whatever order: their sums are equal, and no counter ever falls."""
        worker = WorkerInMemory(secured=True, concurrency=concurrency, max_queue=2)
        rig = worker.rig
        clients: list[Any] = []
        before: dict[str, float] = {}
        for number, step in enumerate(steps):
            waiting = [wire for wire in rig.backend.open if wire.value()]
            if step == "ask":
                clients.append(rig.ask(post(envelope(b"1", request_idx=number + 1))))
            elif step == "bad":
                rig.ask(post(b"{}"))
            elif step == "leave" and clients:
                clients.pop(0).hang_up()
            elif step == "lose" and waiting:
                waiting[0].hang_up()
            elif waiting:
                waiting[0].read()
                answer = {"serve": OK, "stream": CHUNKED}.get(step, OK.replace(b"200", b"500"))
                waiting[0].send(answer)
            worker.clock.advance(0.125)
            now = worker.scrape()
            for name, value in now.items():
                if name.partition("{")[0].endswith(("_total", "_bucket", "_count", "_sum")) and "process" not in name:
                    self.assertGreaterEqual(value, before.get(name, 0), name)
            before = now
            self.assert_agree(rig, now)

    def assert_agree(self, rig: Rig, now: dict[str, float]) -> None:
        ledger = rig.ledger

        def count(outcome: str) -> float:
            return sum(v for name, v in now.items() if name.startswith("vespa_requests_t") and f'="{outcome}"' in name)

        self.assertEqual(count("served"), ledger.served)
        self.assertEqual(count("unserved"), ledger.unserved)
        self.assertEqual(count("failed"), ledger.failed)
        # The ledger has no account of a request that was not understood.
        self.assertGreaterEqual(count("refused"), ledger.refused + ledger.expired)
        self.assertGreaterEqual(count("cancelled"), ledger.cancelled)
        self.assertEqual(now["vespa_workload_in_flight"], ledger.load / MICROS)
        kinds = {kind: now[f'vespa_workload_total{{kind="{kind}"}}'] for kind in ("received", "served", "cancelled")}
        self.assertEqual(kinds["received"] * MICROS, ledger.received_work)
        self.assertEqual(kinds["served"] * MICROS, ledger.snapshot().totals.served)
        self.assertGreaterEqual(
            kinds["received"] - kinds["served"] - kinds["cancelled"], now["vespa_workload_in_flight"]
        )
        self.assertEqual(now["vespa_requests_in_flight"] + now["vespa_requests_queued"], ledger.in_flight)
        started = ledger.received - ledger.expired - rig.gate.waiting
        self.assertLessEqual(now["vespa_admission_wait_seconds_count"], started)
