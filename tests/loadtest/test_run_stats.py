"""The totals of a run."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.loadtest.reports import ABOUT, outcome, report_of, stats_of
from vespa.loadtest.outcome import MEANINGS, Kind
from vespa.loadtest.plan import Plan
from vespa.loadtest.report import make_report
from vespa.loadtest.run_stats import ERRORS, RunStats
from vespa.loadtest.timeline import DOTS

KINDS = st.sampled_from([None, *MEANINGS])


class RunStatsTests(SynchronousTestCase):
    @given(st.lists(st.tuples(KINDS, st.floats(0, 3000), st.floats(0, 100)), max_size=60))
    def test_nothing_is_lost(self, ends: list[tuple[Kind | None, float, float]]) -> None:
        """Sent is succeeded, failed, given up and in flight; and so it is in the timeline, however often it folds."""
        stats = RunStats()
        for _, due, _ in ends:
            stats.leaves(due, due, False)
        for kind, due, took in ends[1:]:
            stats.ends(outcome(due, took, kind))
        self.assertEqual(stats.in_flight, min(1, len(ends)))
        report = make_report(stats, Plan(), ABOUT)
        self.assertEqual(sum(second.sent for second in report.timeline), stats.sent)
        self.assertEqual(sum(second.succeeded for second in report.timeline), stats.succeeded)
        self.assertEqual(sum(second.failed for second in report.timeline), stats.failed)
        self.assertEqual(sum(error.count for error in report.errors), stats.failed)
        self.assertEqual(report.latency.count, stats.succeeded)

    def test_failures_are_no_latency(self) -> None:
        """A refusal is quick, and counts among no times."""
        report = report_of(stats_of(outcome(0, 1.0), outcome(0, 0.001, "status", status=429)))
        self.assertEqual((report.latency.count, report.latency.min), (1, 1.0))

    def test_failed_dots(self) -> None:
        """A failure among many requests is drawn, though of those only every so many are."""
        outcomes = [outcome(number, 1.0, "timeout" if number == 2999 else None) for number in range(3 * DOTS // 2)]
        report = report_of(stats_of(*outcomes))
        self.assertLessEqual(len(report.dots), DOTS + 1)
        self.assertEqual([dot.due for dot in report.dots if not dot.ok], [2999])
        self.assertEqual(list(report.dots), sorted(report.dots, key=lambda dot: dot.due))

    def test_tokens(self) -> None:
        """The backend's own count of tokens takes precedence over our count of its stream."""
        told, guessed = outcome(0, 1.0, pieces=5, tokens=9), outcome(0, 1.0, pieces=5)
        for outcomes, tokens, how in (([told], 9, "usage"), ([guessed], 5, "pieces"), ([told, guessed], 14, "both")):
            report = report_of(stats_of(*outcomes))
            self.assertEqual((report.tokens, report.tokens_counted_by), (tokens, how))
        self.assertEqual(report_of(stats_of(outcome(0, 1.0))).tokens_counted_by, "")

    def test_many_errors(self) -> None:
        """The number of distinct codes is limited; further ones are counted together."""
        stats = stats_of(*[outcome(0, 1, "status", status=500, code=f"code{number}") for number in range(500)])
        self.assertLessEqual(len(stats.errors), ERRORS + len(MEANINGS))
        self.assertEqual(sum(error.count for error in report_of(stats).errors), 500)
