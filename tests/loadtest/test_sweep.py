"""Tests at several levels, one after the other."""

from __future__ import annotations

import json

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.loadtest.reports import ABOUT, outcome, report_of, stats_of, swept
from vespa.config.sweep import Sweep
from vespa.loadtest.plan import Plan
from vespa.loadtest.report import Report
from vespa.loadtest.sweep import SweepReport, plans, run_sweep

GOOD = report_of(stats_of(outcome(0, 1.0)))
USELESS = report_of(stats_of(outcome(0, 1.0, "timeout")))


class PlanTests(SynchronousTestCase):
    def test_concurrency(self) -> None:
        """Each level is the plan with another concurrency; only the first warms up."""
        found = plans(Plan(requests=9, concurrency=10, warmup=3), Sweep("concurrency", (1, 4)))
        self.assertEqual(found, [Plan(requests=9, concurrency=1, warmup=3), Plan(requests=9, concurrency=4)])

    def test_rates(self) -> None:
        """A sweep over rates keeps the limit on requests in flight."""
        found = plans(Plan(requests=9, concurrency=5, poisson=True), Sweep("rps", (0.5, 4)))
        self.assertEqual([plan.rps for plan in found], [0.5, 4])
        self.assertTrue(all(plan.open_loop and plan.poisson and plan.concurrency == 5 for plan in found))


class RunTests(SynchronousTestCase):
    def run_(self, *reports: Report) -> SweepReport:
        left = list(reports)
        self.titles: list[str] = []

        async def run(plan: Plan, title: str) -> Report:
            self.titles.append(title)
            return evolve(left.pop(0), plan=plan)

        sweep = Sweep("concurrency", (1, 2, 4))
        return self.successResultOf(Deferred.fromCoroutine(run_sweep(run, Plan(requests=9), sweep, ABOUT)))

    def test_all(self) -> None:
        """Every level has its report, and its name in the progress."""
        found = self.run_(GOOD, GOOD, GOOD)
        self.assertEqual(
            [(level.value, level.report.plan.concurrency) for level in found.levels], [(1, 1), (2, 2), (4, 4)]
        )
        self.assertEqual(
            self.titles, [f"concurrency {value} ({place} of 3): " for place, value in ((1, 1), (2, 2), (3, 4))]
        )
        self.assertEqual(found.interrupted, "")

    def test_interrupt(self) -> None:
        """After an interrupt no further level begins; the interrupted one is in the report."""
        found = self.run_(GOOD, evolve(GOOD, interrupted="interrupted"))
        self.assertEqual((len(found.levels), found.interrupted), (2, "interrupted"))

    def test_no_success(self) -> None:
        """No level follows one at which nothing succeeded. If that was the last, the sweep was complete."""
        found = self.run_(GOOD, USELESS)
        self.assertEqual((len(found.levels), found.interrupted), (2, "no request succeeded at concurrency 2"))
        self.assertEqual(self.run_(GOOD, GOOD, USELESS).interrupted, "")


class ReportTests(SynchronousTestCase):
    def test_remarks(self) -> None:
        """What is true of all levels is said once, the rest with the level's name."""
        remarks = swept().remarks
        self.assertEqual(sum("closed loop" in remark for remark in remarks), 1)
        late = stats_of(outcome(0, 1.0))
        late.leaves(0.0, 1.0, False)
        report = swept()
        levels = (evolve(report.levels[0], report=report_of(late, Plan(concurrency=1))), *report.levels[1:])
        [remark] = [each for each in evolve(report, levels=levels).remarks if "tester was late" in each]
        self.assertTrue(remark.startswith("At concurrency 1: The tester was late"), remark)

    def test_best(self) -> None:
        """The level with the highest figure, and none if the figure is 0 everywhere."""
        found = swept().best(lambda report: report.requests_per_second)
        self.assertEqual(found and found.value, 4)
        self.assertIsNone(swept().best(lambda report: report.goodput if report.plan.concurrency > 9 else 0.0))

    def test_json(self) -> None:
        """The report is JSON."""
        again = json.loads(json.dumps(swept().to_json(), allow_nan=False))
        self.assertEqual((again["version"], again["over"], len(again["levels"])), (1, "concurrency", 3))
