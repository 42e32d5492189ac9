"""docs/load.md says what there is."""

from __future__ import annotations

import re
from pathlib import Path

from attrs import fields
from twisted.trial.unittest import SynchronousTestCase

from vespa.config.commands import LOAD
from vespa.config.load import CLIENT_OPTIONS, LoadSettings
from vespa.config.sweep import MOST
from vespa.config.thresholds import METRICS, QUANTILES, USUAL
from vespa.loadtest.about import About, Tester
from vespa.loadtest.driver import AFTER_FAILURE_SECONDS
from vespa.loadtest.histogram import EXACT, STEP, Spread
from vespa.loadtest.load_request import MESSAGE_LENGTH
from vespa.loadtest.outcome import MEANINGS
from vespa.loadtest.plan import Plan
from vespa.loadtest.remarks import BUSY, BUSY_SECONDS, LAG
from vespa.loadtest.report import FEW_FAILED, VERSION, Report, Second
from vespa.loadtest.run import GRACE_SECONDS
from vespa.loadtest.run_stats import LATE, FailureCount
from vespa.loadtest.sweep import Level, SweepReport
from vespa.loadtest.thresholds import Check
from vespa.loadtest.timeline import DOTS, MOMENTS, Dot

GUIDE = (Path(__file__).parent.parent.parent / "docs" / "load.md").read_text()


class GuideTests(SynchronousTestCase):
    def test_fields(self) -> None:
        """Every field of the report's JSON is described."""
        for kind in (Report, About, Plan, FailureCount, Spread, Second, Dot, Tester, Check):
            for field in fields(kind):
                self.assertIn(f"`{field.name}`", GUIDE, kind)

    def test_kinds(self) -> None:
        """Every kind of failure is described."""
        for kind in MEANINGS:
            self.assertIn(f"| `{kind}` |", GUIDE)

    def test_metrics(self) -> None:
        """Every metric of a threshold is described, with its quantiles."""
        for name in METRICS:
            self.assertRegex(GUIDE, rf"\| [^|]*`{name}`[^|]* \|")
        self.assertIn(", ".join(f"`.{quantile}`" for quantile in QUANTILES), GUIDE)
        self.assertIn(f"alone they mean `.{USUAL}`", GUIDE)

    def test_options(self) -> None:
        """Every option that the guide names is one."""
        known = {f"--{row.flag}" for row in LOAD.rows} | {f"-{row.short}" for row in LOAD.rows if row.short}
        for name in re.findall(r"`(--?[a-z-]+)", GUIDE):
            self.assertIn(name, known)

    def test_clients(self) -> None:
        """Every option of the client proxy's that the command takes is named."""
        for flag in CLIENT_OPTIONS:
            self.assertIn(f"`--{flag}`", GUIDE)

    def test_sweep(self) -> None:
        """The JSON of a sweep is described, and its bound is that of the program."""
        for kind in (SweepReport, Level):
            for field in fields(kind):
                self.assertIn(f"`{field.name}`", GUIDE, kind)
        self.assertIn(f"at most {MOST} levels", GUIDE)

    def test_numbers(self) -> None:
        """The bounds are those of the program."""
        for said in (
            f"up to {EXACT:,} values",
            f"bars grow by {STEP - 1:.0%}",
            f"at most {MOMENTS} intervals",
            f"{DOTS:,} requests that succeeded",
            f"more than {FEW_FAILED:.0%} of the requests failed",
            f"{LATE * 1000:g} ms or more late",
            f"more than {BUSY:.0%} of a core",
            f"loop was more than {LAG * 1000:g} ms late",
            f"took less than {BUSY_SECONDS:g} s",
            f"up to {MESSAGE_LENGTH:,} characters",
            f"waits {GRACE_SECONDS:g} s for those in flight",
            f"a place pauses for {AFTER_FAILURE_SECONDS:g} s",
            f"--concurrency {LoadSettings().concurrency}`",
            f"--timeout {LoadSettings().timeout:g}`",
            f"`version` is {VERSION}",
        ):
            self.assertIn(said, " ".join(GUIDE.split()))
