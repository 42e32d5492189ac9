"""Progress on a terminal and elsewhere."""

from __future__ import annotations

import io

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.loadtest.reports import outcome, stats_of
from tests.runtime.test_terminal import REWRITE, XTERM, FakeTerminal
from vespa.config.slo import SLO
from vespa.loadtest.plan import Plan
from vespa.loadtest.progress import LINE_SECONDS, LIVE_SECONDS, Progress, progress_line
from vespa.loadtest.run_stats import RunStats
from vespa.runtime.terminal import Terminal


class ProgressTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()

    def progress(self, stream: io.StringIO) -> Progress:
        return Progress(self.clock, self.clock.seconds, Terminal(stream, XTERM, width=200))

    def test_live(self) -> None:
        """On a terminal the line is rewritten a few times a second, and cleared at the end."""
        stream = FakeTerminal()
        shown = self.progress(stream)
        shown.begin(RunStats(), Plan())
        shown.waits("loading", 3.0)
        self.clock.pump([LIVE_SECONDS] * 4)
        self.assertEqual(stream.getvalue().count("in flight"), 4)
        self.assertIn("waiting for a worker 3 s: loading", stream.taken())
        shown.waits("", 0.0)
        self.clock.pump([LIVE_SECONDS])
        self.assertNotIn("waiting", stream.taken())
        shown.tell("interrupted")
        text = stream.taken()
        self.assertTrue(text.startswith(f"{REWRITE}interrupted\n"), repr(text))
        self.assertIn("in flight", text)
        shown.end()
        self.assertTrue(stream.taken().endswith("\x1b[2K"))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_lines(self) -> None:
        """Elsewhere there is a line every few seconds, and nothing that only a terminal understands."""
        stream = io.StringIO()
        shown = self.progress(stream)
        shown.begin(RunStats(), Plan(), "warm-up: ")
        self.clock.pump([1.0] * int(LINE_SECONDS * 3))
        shown.end()
        lines = stream.getvalue().splitlines()
        self.assertEqual(len(lines), 3)
        self.assertRegex(lines[0], r"^warm-up: \[-+\]  5 s  sent 0")
        self.assertNotIn("\x1b", stream.getvalue())

    def test_dumb(self) -> None:
        """A terminal that follows no sequences gets lines as well."""
        stream = FakeTerminal()
        shown = Progress(self.clock, self.clock.seconds, Terminal(stream, {"TERM": "dumb"}))
        shown.begin(RunStats(), Plan())
        self.clock.pump([1.0] * int(LINE_SECONDS * 2))
        shown.end()
        self.assertEqual((stream.getvalue().count("\n"), "\x1b" in stream.getvalue()), (2, False))


class LineTests(SynchronousTestCase):
    def test_line(self) -> None:
        """The line has all that one wants to see, and how much of the plan is done."""
        stats = stats_of(outcome(0, 1.0), outcome(0, 1.0, "timeout"))
        text = progress_line(stats, Plan(requests=4), 10.0, waiting="waiting\x1b")
        said = "10 s  sent 2  done 2  in flight 0  ok 1  failed 1  0.10 ok/s  p50 1.00 s  waiting "
        self.assertEqual(text, f"[##########----------]  {said}")
        stats = stats_of(outcome(0, 1.0, pieces=6), outcome(0, 1.0, "timeout"), slo=SLO(ttft=1.0))
        text = progress_line(stats, Plan(requests=4), 10.0)
        self.assertTrue(text.endswith("0.60 tokens/s  good 50%  p50 1.00 s  TTFT 500 ms  TPOT 100 ms"), text)
        self.assertIn("[####------", progress_line(stats, Plan(requests=0, duration=50), 10.0))
        self.assertIn("[####################]", progress_line(stats, Plan(requests=1, duration=5), 10.0))

    def test_narrow(self) -> None:
        """A line that is too long is cut down to what matters most, and never within a figure."""
        stats = stats_of(outcome(0, 1.0, pieces=6), outcome(0, 1.0, "timeout"), slo=SLO(ttft=1.0))
        lines = {width: progress_line(stats, Plan(requests=4), 10.0, width=width) for width in range(30, 150)}
        self.assertEqual(lines[149], progress_line(stats, Plan(requests=4), 10.0))
        self.assertEqual(lines[56], "[####----]  10 s  ok 1  failed 1  good 50%  p50 1.00 s")
        for width, line in lines.items():
            self.assertLessEqual(len(line), max(width, len("[####----]  10 s  ok 1  failed 1")))
        self.assertIn("waiting", progress_line(stats, Plan(requests=4), 10.0, waiting="waiting", width=10))
