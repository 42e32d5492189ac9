"""What a run adds up to, and the report that is made of it."""

from __future__ import annotations

import json

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.loadtest.reports import ABOUT, outcome, report_of, stats_of
from vespa.loadtest.outcome import MEANINGS, Kind
from vespa.loadtest.plan import Plan
from vespa.loadtest.report import make_report
from vespa.loadtest.run_stats import ERRORS, RunStats
from vespa.loadtest.timeline import Dot, Dots, Timeline

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

    def test_tokens(self) -> None:
        """What a backend counts itself goes before what we count of its stream."""
        told, guessed = outcome(0, 1.0, pieces=5, tokens=9), outcome(0, 1.0, pieces=5)
        for outcomes, tokens, how in (([told], 9, "usage"), ([guessed], 5, "pieces"), ([told, guessed], 14, "both")):
            report = report_of(stats_of(*outcomes))
            self.assertEqual((report.tokens, report.tokens_counted_by), (tokens, how))
        self.assertEqual(report_of(stats_of(outcome(0, 1.0))).tokens_counted_by, "")

    def test_many_errors(self) -> None:
        """However many codes a server invents, only so many are told apart, and none is lost."""
        stats = stats_of(*[outcome(0, 1, "status", status=500, code=f"code{number}") for number in range(500)])
        self.assertLessEqual(len(stats.errors), ERRORS + len(MEANINGS))
        self.assertEqual(sum(error.count for error in report_of(stats).errors), 500)


class TimelineTests(SynchronousTestCase):
    def test_folds(self) -> None:
        """A run that gets long has wider moments instead of more, and forgets nothing."""
        timeline = Timeline(most=4)
        for second in range(16):
            timeline.at(second + 0.5).sent += 1
        self.assertEqual((timeline.width, [moment.sent for moment in timeline.moments]), (4, [4, 4, 4, 4]))
        timeline.at(16).sent += 1
        self.assertEqual((timeline.width, [moment.sent for moment in timeline.moments]), (8, [8, 8, 1]))

    def test_before_the_beginning(self) -> None:
        """A clock's last digit below zero is the first moment."""
        timeline = Timeline()
        timeline.at(-1e-9).sent += 1
        self.assertEqual(timeline.moments[0].sent, 1)

    @given(st.integers(0, 200))
    def test_dots(self, count: int) -> None:
        """Dots are bounded, spread evenly, and the first is always there."""
        dots = Dots(10)
        for number in range(count):
            dots.add(Dot(number, 1.0, None, True))
        kept = [dot.due for dot in dots.kept]
        self.assertLessEqual(len(kept), 10)
        self.assertGreaterEqual(len(kept), min(count, 5))
        self.assertEqual(kept[:1], [0.0] if count else [])
        self.assertLessEqual(len({later - earlier for earlier, later in zip(kept, kept[1:], strict=False)}), 1)


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

    def test_json(self) -> None:
        """The report is JSON with a version, and without numbers that JSON does not have."""
        document = json.dumps(report_of(stats_of(outcome(0, 1.0), outcome(0, 2, "status", status=503))).to_json())
        again = json.loads(document, parse_constant=self.fail)
        self.assertEqual(again["version"], 1)
        self.assertEqual(again["errors"][0]["status"], 503)
        self.assertEqual(len(again["latency"]["quantiles"]), 101)
        json.dumps(report_of(RunStats()).to_json(), allow_nan=False)

    def test_remarks(self) -> None:
        """What makes figures doubtful is said, and nothing where all was well."""
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
        stats = stats_of(outcome(0, 1.0))
        stats.leaves(1.0, 1.5, True)
        stats.never_sent = 7
        self.assertEqual(len(make_report(stats, rps, ABOUT).remarks), 2)

    def test_path_of_url(self) -> None:
        """Where a URL has a path and there is no such place, the whole path is told; elsewhere nothing is."""
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
