"""The report of what a run added up to."""

from __future__ import annotations

import json

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from tests.loadtest.reports import ABOUT, outcome, report_of, stats_of
from vespa.loadtest.plan import Plan
from vespa.loadtest.report import make_report
from vespa.loadtest.run_stats import LATE, RunStats


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

    def test_remarks(self) -> None:
        """Remarks name reasons to doubt the figures; a clean run has none."""
        stats = stats_of(outcome(0, 1.0))
        rps, closed = Plan(rps=10), Plan(concurrency=4)
        self.assertEqual(make_report(stats, rps, ABOUT).remarks, ())
        self.assertIn("closed loop of 4", make_report(stats, closed, ABOUT).remarks[0])
        self.assertIn("busy", make_report(stats, rps, ABOUT, cpu=0.95).remarks[0])
        self.assertIn("busy", make_report(stats, rps, ABOUT, lag=0.2).remarks[0])
        brief = make_report(stats_of(outcome(0, 0.9)), rps, ABOUT, cpu=0.95, lag=0.2)
        vain = make_report(stats_of(outcome(0, 2.0, "timeout")), closed, ABOUT, cpu=0.95, lag=0.2)
        self.assertEqual((brief.remarks, vain.remarks), ((), ()))
        stats.leaves(1.0, 1.5, False)
        self.assertIn("500 ms", make_report(stats, rps, ABOUT).remarks[0])
        self.assertEqual(late_by(LATE - 0.0001), ())
        self.assertIn(
            "1 of 2 requests left 10 ms or more after they were due, the latest 10.0 ms.", late_by(0.01001)[0]
        )
        self.assertIn("the latest 10.4 ms.", late_by(0.0104)[0])
        stats = stats_of(outcome(0, 1.0))
        stats.leaves(1.0, 1.5, True)
        stats.never_sent = 7
        self.assertEqual(len(make_report(stats, rps, ABOUT).remarks), 2)

    def test_path_of_url(self) -> None:
        """If a URL has a path and gets 404, a remark has the whole path; otherwise there is none."""
        lost = stats_of(outcome(0, 1.0, "status", status=404))
        about = evolve(ABOUT, target="http://127.0.0.1:8000/v1", through="url")
        remarks = make_report(lost, Plan(rps=10), about).remarks
        self.assertEqual(len(remarks), 1)
        self.assertIn("POST /v1/v1/chat/completions.", remarks[0])
        for stats, other in (
            (lost, ABOUT),
            (lost, evolve(about, target="http://127.0.0.1:8000")),
            (stats_of(outcome(0, 1.0)), about),
        ):
            self.assertEqual(make_report(stats, Plan(rps=10), other).remarks, ())


def late_by(seconds: float) -> tuple[str, ...]:
    """The remarks on a test of which one request left so late."""
    stats = stats_of(outcome(0, 1.0))
    stats.leaves(0.0, seconds, False)
    return make_report(stats, Plan(rps=10), ABOUT).remarks
