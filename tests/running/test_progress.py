"""What a run shows."""

from __future__ import annotations

from io import StringIO

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.running.progress import Progress, counts, minutes, summary
from tests.running.units import Unit, Weight
from tests.running.ways import STOCK

A, B = Unit("tests.http.test_a"), Unit("tests.http.test_b", STOCK)


class ProgressTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.output = StringIO()

    def progress(self, *, is_terminal: bool = False) -> Progress:
        return Progress([A, B], 125.0, self.output, self.clock.seconds, is_terminal=is_terminal, columns=100)

    def test_line(self) -> None:
        """The line has the time and what is expected, how many modules are done, the counts, and what is running."""
        progress = self.progress()
        progress.started(A)
        progress.started(B)
        progress.test_ended(A, "tests.http.test_a.T.test_x", "passed", "", 0.1)
        self.clock.advance(61)
        self.assertEqual(
            progress.line(),
            "1:01 of about 2:05, 0 of 2 modules: 1 passed, 0 failed; running http.test_a, http.test_b (stock)",
        )
        progress.ended(A, 61.0, 2.0, "")
        self.assertIn("1 of 2 modules", progress.line())
        self.assertTrue(progress.line().endswith("running http.test_b (stock)"))

    def test_log(self) -> None:
        """In a log there is a line every ten seconds."""
        progress = self.progress()
        for _ in range(25):
            self.clock.advance(1)
            progress.tick()
        self.assertEqual(len(self.output.getvalue().splitlines()), 2)

    def test_terminal(self) -> None:
        """On a terminal one line is written over, no longer than the terminal is wide, and left clean for others."""
        progress = self.progress(is_terminal=True)
        for number in range(40):
            progress.started(Unit(f"tests.http.test_{number}"))
        self.clock.advance(1)
        progress.tick()
        self.assertNotIn("\n", self.output.getvalue())
        self.assertEqual(len(self.output.getvalue()), 100)
        progress.test_ended(A, "tests.http.test_a.T.test_x", "failed", "why", 0.1)
        self.assertIn(" \rFAILED tests.http.test_a.T.test_x\nwhy\n", self.output.getvalue())

    def test_failures(self) -> None:
        """A failure is shown at once with its reason, and named again at the end; the way is named with the test."""
        progress = self.progress()
        progress.test_ended(B, "tests.http.test_b.T.test_y", "failed", "Traceback\n", 0.1)
        self.assertEqual(self.output.getvalue(), "FAILED tests.http.test_b.T.test_y (stock)\nTraceback\n\n")
        progress.close()
        self.assertIn("\nFAILED tests.http.test_b.T.test_y (stock)\ntook 0:00\n", self.output.getvalue())
        self.assertEqual((progress.passed, progress.failed, progress.skipped), (0, 1, 0))

    def test_skipped(self) -> None:
        """Each reason to skip is told once, with how many tests it was for."""
        progress = self.progress()
        for name in "xyz":
            progress.test_ended(A, name, "skipped", "no kettle" if name != "z" else "no tea", 0.1)
        progress.close()
        self.assertEqual(self.output.getvalue(), "2 skipped: no kettle\n1 skipped: no tea\ntook 0:00\n")

    def test_printed(self) -> None:
        """What tests print is shown when their module is done."""
        progress = self.progress()
        progress.started(A)
        progress.ended(A, 1.0, 1.0, "hello\n")
        self.assertEqual(self.output.getvalue(), "tests.http.test_a printed:\nhello\n")

    def test_weights(self) -> None:
        """The parts of a module are weighed together."""
        progress = self.progress()
        for part in range(2):
            unit = Unit("tests.http.test_a", part=part, parts=2)
            progress.started(unit)
            progress.ended(unit, 3.0, 1.0, "")
        self.assertEqual(progress.weights, {"tests.http.test_a": Weight(6.0, 2.0)})


class LastLineTests(SynchronousTestCase):
    def test_counts(self) -> None:
        """What a run says last is what it counts for; a run that ended without a word failed."""
        self.assertEqual(counts("x\n12 passed, 3 failed, 4 skipped\n"), (12, 3, 4))
        self.assertEqual(counts("12 passed, 0 failed\n"), (12, 0, 0))
        self.assertEqual(counts("1 passed, 0 failed\nTraceback"), (0, 1, 0))
        self.assertEqual(counts(summary(12, 3, 4)), (12, 3, 4))
        self.assertEqual(summary(12, 3, 0), "12 passed, 3 failed")
        self.assertEqual(minutes(601.9), "10:01")
