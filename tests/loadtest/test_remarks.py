"""Remarks on what a reader should know of the figures."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from tests.loadtest.reports import ABOUT, outcome, stats_of
from vespa.loadtest.plan import Plan
from vespa.loadtest.report import make_report
from vespa.loadtest.run_stats import LATE


class RemarkTests(SynchronousTestCase):
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
