"""The report of what a run added up to."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from tests.loadtest.reports import outcome, report_of, stats_of
from vespa.loadtest.run_stats import RunStats


class ReportTests(SynchronousTestCase):
    def test_rates(self) -> None:
        """Rates are over the time from the first request's beginning to the last one's end."""
        report = report_of(stats_of(outcome(0, 1.0, tokens=30), outcome(1, 3.0, tokens=50), outcome(1, 1.0, "timeout")))
        self.assertEqual((report.seconds, report.requests_per_second, report.tokens_per_second), (4.0, 0.5, 20.0))

    def test_nothing(self) -> None:
        """A run without any request has a report, which is not clean."""
        report = report_of(RunStats())
        self.assertEqual((report.requests_per_second, report.clean), (0.0, False))

    def test_clean(self) -> None:
        """Clean is when some succeeded and none failed; what an interrupt gave up is no failure."""
        good = outcome(0, 1.0)
        self.assertTrue(report_of(stats_of(good)).clean)
        self.assertTrue(report_of(stats_of(good, outcome(0, 1.0, "unfinished"))).clean)
        self.assertFalse(report_of(stats_of(good, outcome(0, 1.0, "truncated"))).clean)
        self.assertFalse(report_of(stats_of(outcome(0, 1.0, "unfinished"))).clean)

    def test_verdict(self) -> None:
        """A failure among many makes a test neither good nor bad; a share of more than FEW_FAILED makes it bad."""
        good, failed = outcome(0, 1.0), outcome(0, 0.1, "status", status=429)
        for successes, failures, verdict in (
            (1, 0, "good"),
            (99, 1, "few"),
            (98, 2, "bad"),
            (0, 0, "bad"),
            (0, 1, "bad"),
        ):
            report = report_of(stats_of(*[good] * successes, *[failed] * failures))
            self.assertEqual(report.verdict, verdict, (successes, failures))

    def test_json(self) -> None:
        """The report is JSON with a version, and without numbers that JSON does not have."""
        document = json.dumps(report_of(stats_of(outcome(0, 1.0), outcome(0, 2, "status", status=503))).to_json())
        again = json.loads(document, parse_constant=self.fail)
        self.assertEqual(again["version"], 1)
        self.assertEqual(again["errors"][0]["status"], 503)
        self.assertEqual(len(again["latency"]["quantiles"]), 101)
        json.dumps(report_of(RunStats()).to_json(), allow_nan=False)
