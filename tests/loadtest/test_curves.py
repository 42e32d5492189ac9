"""The plots of a sweep."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from tests.loadtest.reports import outcome, report_of, stats_of, swept
from vespa.loadtest.curves import curves


class CurveTests(SynchronousTestCase):
    def test_titles(self) -> None:
        """Each time that was measured against tokens, or requests if there are no tokens; and the rates by level."""
        self.assertEqual(
            [plot.title for plot in curves(swept())],
            [
                "Latency against output tokens a second",
                "Time to first token against output tokens a second",
                "Time per output token against output tokens a second",
                "Requests a second by concurrency",
            ],
        )
        whole = tuple(evolve(level, report=report_of(stats_of(outcome(0, 1.0)))) for level in swept().levels)
        titles = [plot.title for plot in curves(swept(levels=whole, over="rps"))]
        self.assertEqual(titles, ["Latency against requests a second", "Requests a second by rate"])

    def test_labels(self) -> None:
        """Each level is named at its point."""
        latency = curves(swept())[0]
        self.assertEqual([label.text for label in latency.labels], ["1", "2", "4"])
        heights = [label.bottom for label in latency.labels]
        self.assertEqual(heights, sorted(heights))
        self.assertTrue(all(0 <= label.left <= 1 and 0 < label.bottom < 1 for label in latency.labels))

    def test_magnitudes(self) -> None:
        """Times that span several magnitudes have a logarithmic axis, so that the short ones differ too."""
        slow = report_of(stats_of(outcome(0, 60.0, pieces=5, tokens=6), outcome(0, 60.0, pieces=5, tokens=6)))
        levels = (*swept().levels[:2], evolve(swept().levels[2], report=slow))
        self.assertGreater(curves(swept(levels=levels))[0].up.low, 0)
        self.assertEqual(curves(swept())[0].up.low, 0)

    def test_series(self) -> None:
        """Objectives are lines; good and failed requests have curves if there are any."""
        _, first, _, rates = curves(swept())
        self.assertEqual(
            [one.name for one in first.series if one.name], ["TTFT objective", "p50", "p95, labelled by concurrency"]
        )
        self.assertEqual(
            [one.name for one in rates.series if one.name], ["succeeded", "good, within the objectives", "failed"]
        )

    def test_failed_level(self) -> None:
        """A level at which nothing succeeded has no times, and no place in the plots of times."""
        failed = evolve(swept().levels[2], report=report_of(stats_of(outcome(0, 1, "timeout"))))
        found = curves(swept(levels=(*swept().levels[:2], failed)))
        self.assertEqual([label.text for label in found[0].labels], ["1", "2"])
        self.assertEqual([plot.title for plot in curves(swept(levels=(failed,)))], ["Requests a second by concurrency"])
