"""Axes and their ticks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.loadtest.reports import outcome, report_of, stats_of
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
        self.assertEqual(names(good)["Requests a second"], ["sent", "succeeded"])

    def test_last_moment(self) -> None:
        """A last moment that is too short to have a rate is left out of the rates."""
        for end, moments in ((2.05, 2), (2.5, 3)):
            report = report_of(stats_of(outcome(0, 0.5), outcome(1, 0.5), outcome(1.9, end - 1.9)))
            [requests] = [plot for plot in plots(report) if plot.title == "Requests a second"]
            self.assertEqual(requests.series[0].path.count("H"), moments)


def names(report: Report) -> dict[str, list[str]]:
    """What each plot shows, by its title."""
    return {plot.title: [series.name for series in plot.series] for plot in plots(report)}
