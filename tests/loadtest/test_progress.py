"""Progress on a terminal and elsewhere."""

from __future__ import annotations

import io

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.runtime.test_terminal import REWRITE, XTERM, FakeTerminal
from vespa.loadtest.plan import Plan
from vespa.loadtest.progress import LINE_SECONDS, LIVE_SECONDS, Progress
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
