from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.observability.metered import WorkerInMemory
from vespa.accounting.workload import MICROS
from vespa.benchmarking.contract import Figure
from vespa.worker.usage.meter import UsageMeter
from vespa.worker.usage.recalibration import Recalibration

WAIT_LIMIT = "vespa_estimated_wait_limit_seconds"
RESULTS = ("measured", "unmeasured")


class UsageMetricsTests(SynchronousTestCase):
    def test_usage(self) -> None:
        """The responses that were read for their tokens, with their work in two ways; nothing if that is off."""
        worker = WorkerInMemory()
        self.assertEqual([name for name in worker.scrape() if "usage" in name or "estimate" in name], [WAIT_LIMIT])
        usage = worker.usage = UsageMeter(worker.rig.ledger, "completion")
        worker.metrics = worker.make_metrics(worker.reporter, worker.keyring)
        usage.measured, usage.unmeasured, usage.measured_work, usage.signed_work = 3, 2, 30 * MICROS, 400 * MICROS
        now = worker.scrape()
        results = {result: now[f'vespa_usage_responses_total{{result="{result}"}}'] for result in RESULTS}
        kinds = {kind: now[f'vespa_usage_work_total{{kind="{kind}"}}'] for kind in ("measured", "signed")}
        self.assertEqual((results, kinds), ({"measured": 3, "unmeasured": 2}, {"measured": 30, "signed": 400}))

    def test_estimate(self) -> None:
        """The estimate of the throughput is beside the benchmark's figure, which it does not change."""
        worker = WorkerInMemory()
        gate, figure = worker.rig.gate, Figure(100.0, 8)
        recalibration = Recalibration(worker.clock, gate, worker.rig.ledger, lambda: figure, measures=False)
        worker.recalibration = recalibration
        worker.metrics = worker.make_metrics(worker.reporter, worker.keyring)
        self.assertEqual(worker.scrape()["vespa_benchmark_throughput"], 0, "the worker is not ready yet")
        gate.throughput = figure
        recalibration.tick(worker.clock.seconds())
        now = worker.scrape()
        found = [now[f'vespa_throughput_estimate{{kind="{kind}"}}'] for kind in ("work", "cost")]
        self.assertEqual((gate.throughput, found), (100.0, [100, 100]))
        gate.throughput = 150.0
        recalibration.factor, recalibration.admission_factor = 0.8, 1.5
        now = worker.scrape()
        found = [now[f'vespa_throughput_estimate{{kind="{kind}"}}'] for kind in ("work", "cost")]
        self.assertEqual(found, [80, 150])
        self.assertEqual((now["vespa_benchmark_throughput"], now["vespa_benchmark_concurrency"]), (100, 8))
