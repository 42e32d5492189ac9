from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.rig import Rig
from vespa.accounting.fair_queue import FairQueue
from vespa.accounting.ledger import Ledger
from vespa.config.worker import WorkerSettings
from vespa.config.worker_reading import load
from vespa.observability.ended_requests import EndedRequests
from vespa.vast.status_report import Condition
from vespa.worker.backends.setup import backend_parts
from vespa.worker.usage.counts import Counts
from vespa.worker.usage.meter import UsageMeter
from vespa.worker.usage.recalibration import Recalibration
from vespa.worker.usage.setup import UsageParts, free_load, recalibration, usage_meter, usage_parts


def settings_of(**environment: str) -> WorkerSettings:
    return load({"VESPA_UNSECURED": "true", "VESPA_BACKEND_URL": "http://127.0.0.1:1", **environment})


class UsageMeterTests(SynchronousTestCase):
    def made(self, environment: dict[str, str], **settings: str) -> UsageMeter | None:
        return usage_meter(settings_of(**settings), environment, Ledger(1), FairQueue(None, 0, 1))

    def test_off(self) -> None:
        """By default nothing is read."""
        self.assertIsNone(self.made({}))
        self.assertIsNone(self.made({}, VESPA_USAGE_COUNT="total"))

    def test_most(self) -> None:
        """A response is believed as much work as a request may cost."""
        for settings, most in (({}, 1e9), ({"VESPA_MAX_COST": "500"}, 500.0)):
            meter = self.made({}, VESPA_USAGE="openai", **settings)
            assert meter is not None
            self.assertEqual(meter.most, most)

    def test_unit(self) -> None:
        """The unit is the benchmark's, unless a setting names it."""
        for environment, count, units in (
            ({}, "auto", 6),
            ({"BENCHMARK_COUNT": "completion"}, "auto", 6),
            ({"BENCHMARK_COUNT": " total "}, "auto", 17),
            ({"BENCHMARK_COUNT": "10"}, "auto", 6),
            ({"BENCHMARK_COUNT": "total"}, "completion", 6),
            ({}, "total", 17),
        ):
            with self.subTest(environment, count=count):
                meter = self.made(environment, VESPA_USAGE="openai", VESPA_USAGE_COUNT=count)
                assert meter is not None
                self.assertEqual(Counts(6, 11).of(meter.unit), units)


class FreeLoadTests(SynchronousTestCase):
    def test_one_backend(self) -> None:
        """With one backend, the ledger alone is told: nothing more is called."""
        rig = Rig()
        self.assertEqual(free_load(rig.ledger, rig.gate), rig.ledger.free_load)


class RecalibrationTests(SynchronousTestCase):
    def made(self, **settings: str) -> Recalibration | None:
        rig = Rig()
        return recalibration(
            Clock(), settings_of(**settings), rig.gate, rig.ledger, lambda: None, EndedRequests(Clock())
        )

    def test_off(self) -> None:
        """Nothing is estimated by default, nor without a benchmark, which the estimate is a factor of."""
        self.assertIsNone(self.made())
        self.assertIsNone(self.made(VESPA_BENCHMARK="a:b"))
        self.assertIsNone(self.made(VESPA_RECALIBRATE="true"))

    def test_on(self) -> None:
        """It is there with a benchmark, with the tokens of responses or without."""
        for usage in ("off", "openai"):
            made = self.made(VESPA_RECALIBRATE="true", VESPA_BENCHMARK="a:b", VESPA_USAGE=usage)
            self.assertIsInstance(made, Recalibration)


class PartsTests(SynchronousTestCase):
    def made(self, **settings: str) -> UsageParts:
        clock, made = Clock(), settings_of(**settings)
        backend = backend_parts(clock, made, {}, lambda throughput: None)
        return usage_parts(clock, made, {}, Ledger(1), backend, EndedRequests(clock))

    def test_off(self) -> None:
        """By default nothing reads, runs, or changes what is reported."""
        parts = self.made()
        self.assertEqual((parts.reader, parts.services), (None, []))
        parts.limit(5.0)
        self.assertIs(parts.condition(CONDITION), CONDITION)

    def test_on(self) -> None:
        """The estimate is a service that changes the report, and the meter believes no more than a request may cost."""
        parts = self.made(VESPA_USAGE="openai", VESPA_RECALIBRATE="true", VESPA_BENCHMARK="a:b")
        assert parts.meter is not None and parts.recalibration is not None
        self.assertEqual((parts.reader, parts.services), (parts.meter.reader, [parts.recalibration]))
        parts.limit(5.0)
        self.assertEqual(parts.meter.most, 5.0)
        parts.recalibration.factor = 1.5
        self.assertEqual(parts.condition(CONDITION).max_perf, 150.0)


CONDITION = Condition(loadtime=1.0, max_perf=100.0, error_msg="", ready=True)
