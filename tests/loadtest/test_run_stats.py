"""The totals of a run."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.loadtest.reports import ABOUT, outcome, report_of, stats_of
from vespa.config.slo import SLO
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

    def test_input_tokens(self) -> None:
        """Tokens of prompts count where the backend reports them; a report says if some responses had no count."""
        told, silent = outcome(0, 2.0, pieces=2, input_tokens=30), outcome(0, 2.0, pieces=2)
        report = report_of(stats_of(told, told))
        self.assertEqual((report.input_tokens, report.input_tokens_per_second), (60, 30))
        self.assertFalse([remark for remark in report.remarks if "prompt" in remark])
        self.assertIn(
            "1 responses had no count of their prompt's tokens", report_of(stats_of(told, silent)).remarks[-1]
        )
        self.assertEqual(report_of(stats_of(silent)).input_tokens, 0)

    def test_time_per_output_token(self) -> None:
        """From the first piece to the last, by the tokens after the first: the backend's count, else the pieces."""
        for pieces, tokens, expected in ((6, None, 0.2), (6, 11, 0.1), (1, 1, None), (1, None, None), (0, 9, None)):
            spread = report_of(stats_of(outcome(0, 2.0, pieces=pieces, tokens=tokens))).per_output_token
            self.assertEqual((spread.count, spread.mean), (0, 0.0) if expected is None else (1, expected))

    def test_end_of_time_per_output_token(self) -> None:
        """What comes after the last text, such as the usage, is no time per token."""
        slow_end = outcome(0, 2.0, pieces=6)
        slow_end.ended = 5.0
        self.assertEqual(report_of(stats_of(slow_end)).per_output_token.max, 0.2)

    def test_goodput(self) -> None:
        """Good requests a second, and their share of those that succeeded or failed; also in the timeline."""
        slo = SLO(e2e=1.0)
        slow, failed, given_up = outcome(0, 4.0), outcome(0, 0.5, "timeout"), outcome(0, 0.5, "unfinished")
        report = report_of(stats_of(outcome(0, 1.0), outcome(1, 0.5), slow, failed, given_up, slo=slo))
        self.assertEqual((report.good, report.goodput, report.good_share, report.slo), (2, 0.5, 0.5, {"e2e": 1.0}))
        self.assertEqual(sum(second.good for second in report.timeline), 2)
        without = report_of(stats_of(outcome(0, 1.0)))
        self.assertEqual((without.good, without.goodput, without.slo), (0, 0.0, {}))

    def test_goodput_of_whole_responses(self) -> None:
        """If no response is a stream, a remark says why none kept an objective on tokens."""
        whole = outcome(0, 1.0, tokens=9)
        self.assertIn("use --slo e2e", report_of(stats_of(whole, slo=SLO(ttft=9.0))).remarks[-1])
        for stats in (
            stats_of(whole, slo=SLO(e2e=9.0)),
            stats_of(outcome(0, 1.0, pieces=5, tokens=5), slo=SLO(ttft=9.0)),
        ):
            self.assertEqual(report_of(stats).remarks, ())

    def test_peak_in_flight(self) -> None:
        """The most requests that were in flight at a time."""
        stats = stats_of(outcome(0, 1.0), outcome(0, 1.0), outcome(0, 1.0))
        stats.leaves(9, 9, False)
        self.assertEqual(report_of(stats).peak_in_flight, 3)

    def test_many_errors(self) -> None:
        """The number of distinct codes is limited; further ones are counted together."""
        stats = stats_of(*[outcome(0, 1, "status", status=500, code=f"code{number}") for number in range(500)])
        self.assertLessEqual(len(stats.errors), ERRORS + len(MEANINGS))
        self.assertEqual(sum(error.count for error in report_of(stats).errors), 500)
