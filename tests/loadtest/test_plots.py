"""Axes and their ticks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.loadtest.reports import outcome, report_of, stats_of
from vespa.config.slo import SLO
from vespa.loadtest.plots import Axis, plots, spanning, up_to
from vespa.loadtest.report import Report


class AxisTests(SynchronousTestCase):
    @given(st.floats(1e-6, 1e6), st.floats(0, 1e6))
    def test_ticks(self, high: float, low: float) -> None:
        """Named values lie on the axis, in order, and there are a few."""
        for axis in (up_to(high, str), spanning(min(low, high), high, str)):
            found = axis.ticks()
            self.assertEqual(found, sorted(set(found)))
            self.assertTrue(1 <= len(found) <= 9, found)
            for value in found:
                self.assertTrue(-1e-8 <= axis.share(value) <= 1 + 1e-8)

    def test_known(self) -> None:
        """Ticks are round numbers."""
        self.assertEqual(Axis(10, str).ticks(), [0, 2, 4, 6, 8, 10])
        self.assertEqual(Axis(30, str, 0.01).ticks(), [0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30])
        self.assertEqual(up_to(0.73, str).high, 0.8)
        self.assertEqual(up_to(0, str).high, 1.0)


class PlotTests(SynchronousTestCase):
    def test_legend(self) -> None:
        """A plot names what it shows, and nothing else."""
        failed = report_of(stats_of(outcome(0, 1, "timeout")))
        self.assertEqual(names(failed)["Latency over time"], ["a failed request"])
        good = report_of(stats_of(outcome(0, 1)))
        self.assertEqual(names(good)["Latency over time"], ["a request, at the time it was due", "p50", "p99"])
        mixed = report_of(stats_of(outcome(0, 1), outcome(0, 1, "timeout")))
        self.assertEqual(names(mixed)["Requests a second"], ["sent", "succeeded", "failed"])
        self.assertEqual(names(good)["Requests a second"], ["sent", "succeeded"])

    def test_failed_on_top(self) -> None:
        """Marks of failed requests are drawn above dots and lines, and in a form of their own."""
        mixed = plots(report_of(stats_of(outcome(0, 1), outcome(0, 1, "timeout"))))[0]
        self.assertEqual([series.style for series in mixed.series], ["c1 dots", "c2 line", "c3 line", "bad marks"])

    def test_objectives(self) -> None:
        """Objectives are lines in the plots of what they are for, and good requests have a rate."""
        found = plots(
            report_of(stats_of(outcome(0, 2, pieces=3), outcome(1, 2, pieces=3), slo=SLO(ttft=5.0, tpot=1.0)))
        )
        drawn = {plot.title: {series.name: series.path for series in plot.series} for plot in found}
        self.assertEqual(drawn["Share of requests done within a time"]["TTFT objective"], "M1000.0 0V1000")
        self.assertEqual(drawn["Time per output token"]["TPOT objective"], "M1000.0 0V1000")
        self.assertNotIn("E2E objective", drawn["Share of requests done within a time"])
        self.assertIn("good, within the objectives", drawn["Requests a second"])

    def test_last_moment(self) -> None:
        """A last moment that is too short to have a rate is left out of the rates."""
        for end, moments in ((2.05, 2), (2.5, 3)):
            report = report_of(stats_of(outcome(0, 0.5), outcome(1, 0.5), outcome(1.9, end - 1.9)))
            [requests] = [plot for plot in plots(report) if plot.title == "Requests a second"]
            self.assertEqual(requests.series[0].path.count("H"), moments)

    def test_length_of_last_moment(self) -> None:
        """The rate of a last moment that is shorter than the others is that of its own length."""
        report = report_of(stats_of(outcome(0, 0.5), outcome(0, 0.5), outcome(1, 0.5)))
        [requests] = [plot for plot in plots(report) if plot.title == "Requests a second"]
        self.assertEqual((report.seconds, requests.up.high), (1.5, 2))
        [sent] = [series for series in requests.series if series.name == "sent"]
        self.assertEqual(sent.path, "M0.0 0.0H666.7V0.0H1000.0")  # two in the first second, one in half a second


def names(report: Report) -> dict[str, list[str]]:
    """What each plot shows, by its title."""
    return {plot.title: [series.name for series in plot.series] for plot in plots(report)}
