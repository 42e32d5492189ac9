"""Thresholds and reports."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.loadtest.reports import outcome, report_of, stats_of
from vespa.config.slo import SLO
from vespa.config.thresholds import METRICS, threshold
from vespa.loadtest.report import Report
from vespa.loadtest.run_stats import RunStats
from vespa.loadtest.thresholds import check, passed

GOOD = outcome(0, 1.0, pieces=6, tokens=11, input_tokens=100)  # TTFT 0.5 s, TPOT 0.05 s
SLOW = outcome(0, 2.0, pieces=6, tokens=11, input_tokens=100)
FAILED = outcome(0, 0.1, "status", status=429)
REPORT = report_of(stats_of(GOOD, SLOW, FAILED, outcome(0, 1.5, "unfinished"), slo=SLO(e2e=1.0)))


def ok(report: Report, *texts: str) -> bool:
    return passed(report, map(threshold, texts))


class ThresholdTests(SynchronousTestCase):
    def test_values(self) -> None:
        """Each metric is the report's figure of that name, in the unit of the limit."""
        for raw, value, shown in (
            ("p50>9s", 1.0, "1.00 s"),
            ("max>9s", 2.0, "2.00 s"),
            ("ttft.mean>9s", 0.75, "750 ms"),
            ("tpot>9s", 0.1, "100 ms"),
            ("errors>9", 1, "1"),
            ("errors>99%", 1 / 3, "33.33%"),
            ("throughput<0", 1.0, "1.00/s"),
            ("goodput<0", 0.5, "0.50/s"),
            ("goodput<0%", 1 / 3, "33.33%"),
            ("tokens<0", 11.0, "11.0/s"),
            ("input_tokens<0", 100.0, "100/s"),
        ):
            [found] = check(REPORT, [threshold(raw)])
            self.assertEqual((found.threshold, found.value, found.shown, found.failed), (raw, value, shown, False))

    def test_failed(self) -> None:
        """A threshold fails if what it says is so."""
        for raw in ("p50>999ms", "errors>0", "errors>33%", "throughput<1.01", "goodput<34%"):
            self.assertTrue(check(REPORT, [threshold(raw)])[0].failed, raw)

    def test_nothing_measured(self) -> None:
        """A threshold for what could not be measured fails, and says so; every metric can be asked of any report."""
        whole = report_of(stats_of(outcome(0, 1.0)))
        [found] = check(whole, [threshold("ttft>9s")])
        self.assertEqual((found.value, found.shown, found.failed), (None, "nothing was measured", True))
        for name in METRICS:
            raw = f"{name}>9s" if name in ("e2e", "ttft", "tpot", "itl") else f"{name}>9"
            check(report_of(RunStats()), [threshold(raw)])

    def test_passed(self) -> None:
        """A test passes if it keeps all thresholds; failed requests count unless a threshold is for them."""
        clean, mixed = report_of(stats_of(GOOD, SLOW)), report_of(stats_of(*[GOOD] * 99, FAILED))
        self.assertEqual((ok(clean), ok(mixed)), (True, False))
        self.assertEqual((ok(clean, "p99>2s"), ok(clean, "p99>2s", "p50>900ms")), (True, False))
        self.assertEqual((ok(mixed, "p99>2s"), ok(mixed, "errors>1%"), ok(mixed, "errors>0.9%")), (False, True, False))

    def test_no_success(self) -> None:
        """A test in which no request succeeded never passes."""
        for stats in (RunStats(), stats_of(FAILED)):
            self.assertFalse(ok(report_of(stats), "errors>100%"))
