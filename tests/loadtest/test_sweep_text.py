"""A sweep on a terminal."""

from __future__ import annotations

import io

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from tests.loadtest.reports import ABOUT, HOSTILE, outcome, report_of, stats_of, swept
from tests.runtime.test_terminal import XTERM, FakeTerminal
from vespa.config.sweep import Sweep
from vespa.config.thresholds import threshold
from vespa.loadtest.plan import Plan
from vespa.loadtest.sweep import SweepReport
from vespa.loadtest.sweep_text import all_errors, best, levels, sweep_intention, sweep_table
from vespa.loadtest.thresholds import check


def table(report: SweepReport, *fail_if: str, stream: io.StringIO | None = None, columns: int = 100) -> str:
    checks = [check(level.report, map(threshold, fail_if)) for level in report.levels]
    return sweep_table(report, "the plan", stream or io.StringIO(), {**XTERM, "COLUMNS": str(columns)}, checks)


class SweepTextTests(SynchronousTestCase):
    def test_intention(self) -> None:
        """The plan is a sentence."""
        self.assertEqual(
            sweep_intention(ABOUT, Plan(requests=50), Sweep("concurrency", (1, 2, 8))),
            "1, 2, 8 at a time, 50 requests each, to endpoint my-llm: POST /v1/chat/completions, streamed, cost 500",
        )
        rates = sweep_intention(ABOUT, Plan(requests=9, duration=5, poisson=True), Sweep("rps", (0.5, 2)))
        self.assertIn("0.5, 2 requests a second at random (Poisson), 9 requests or 5 s each, to", rates)

    def test_levels(self) -> None:
        """A row for each level, and columns for what was measured; brief are those that fit a narrow terminal."""
        head, *rows = levels(swept())
        self.assertEqual([row[0] for row in rows], ["1", "2", "4"])
        self.assertEqual(head[:5], ["concurrency", "requests/s", "good/s", "good", "tokens/s"])
        self.assertEqual((rows[2][head.index("good")], rows[2][head.index("failed")]), ("0.0%", "1"))
        self.assertLess(set(levels(swept(), brief=True)[0]), set(head))
        whole = [evolve(level, report=report_of(stats_of(outcome(0, 1.0)))) for level in swept().levels]
        plain = levels(swept(levels=tuple(whole)))[0]
        self.assertEqual(plain, ["concurrency", "requests/s", "E2E p50", "E2E p95", "failed"])

    def test_rates(self) -> None:
        """The levels of a sweep over rates are rates."""
        self.assertEqual(levels(swept(over="rps"))[0][0], "rate")
        self.assertIn(("highest throughput", "20.0 requests/s at 4 requests/s"), best(swept(over="rps")))

    def test_table(self) -> None:
        """The levels, the best of them, all failures together and the remarks."""
        text = table(swept())
        for said in (
            "the plan\n",
            "highest throughput  20.0 requests/s at concurrency 4",
            "highest goodput     16.0 requests/s at concurrency 2",
            "good is within      TTFT 600 ms",
            "1  status  429     busy  full",
            "! Each level is a closed loop",
        ):
            self.assertIn(said, text)
        self.assertNotIn("fail if", text)
        self.assertIn("ended early: interrupted", table(swept(interrupted="interrupted")))

    def test_narrow(self) -> None:
        """On a terminal of 80 columns every figure is whole."""
        text = table(swept(), stream=FakeTerminal(), columns=80)
        self.assertNotIn("…", text.partition("highest")[0])

    def test_thresholds(self) -> None:
        """A row for each level, with what was measured for each threshold."""
        lines = table(swept(), "p95>1s", "errors>1").splitlines()[-4:]
        heads = [line.split("  ")[0].strip() for line in lines]
        self.assertEqual(heads, ["fail if", "concurrency 1", "concurrency 2", "concurrency 4"])
        self.assertEqual(lines[1].split(), ["concurrency", "1", "500", "ms", "0"])
        self.assertEqual(lines[3].split(), ["concurrency", "4", "2.00", "s", "FAILED", "1"])

    def test_errors(self) -> None:
        """Failures of a kind count together over all levels."""
        failed = [outcome(0, 1, "status", status=429), outcome(0, 1, "timeout")]
        reports = [report_of(stats_of(*failed)), report_of(stats_of(failed[0]))]
        self.assertEqual([(error.kind, error.count) for error in all_errors(reports)], [("status", 2), ("timeout", 1)])
        self.assertEqual(reports[0].errors[0].count, 1)  # those of the level stay as they are

    def test_hostile(self) -> None:
        """No text of a server's can drive the terminal or forge a line."""
        failed = report_of(stats_of(outcome(0, 1, "status", status=500, code=HOSTILE, message=HOSTILE)))
        text = table(swept(levels=(evolve(swept().levels[0], report=failed),), interrupted=HOSTILE))
        self.assertNotIn("\x1b", text)
        self.assertFalse([line for line in text.splitlines() if line.startswith("next")])
