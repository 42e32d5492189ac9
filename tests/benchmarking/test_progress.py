"""What reaches the log of a benchmark that prints too much."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from vespa.benchmarking.progress import BURST, LONGEST, RATE, Progress


class ProgressTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.lines: list[str] = []
        self.progress = Progress(self.lines.append, self.clock.seconds)

    def test_lines(self) -> None:
        """However the bytes are cut, the lines are those that were printed; empty ones are dropped."""
        for piece in (b"on", b"e\ntw", b"o\r\n\n\nthree", b" \xc3", b"\xa9\n"):
            self.progress.received(1, piece)
        self.assertEqual(self.lines, ["one", "two", "three é"])

    def test_descriptors(self) -> None:
        """The two outputs are not mixed within a line."""
        self.progress.received(1, b"out")
        self.progress.received(2, b"err\n")
        self.progress.received(1, b"put\n")
        self.assertEqual(self.lines, ["err", "output"])

    def test_progress_bar(self) -> None:
        """A carriage return ends a line, and colours and control characters do not reach the log."""
        self.progress.received(1, b"\r 10%\r 20%\n\x1b[31mred\x1b[0m\x07\tend\n")
        self.assertEqual(self.lines, [" 10%", " 20%", "red  end"])

    def test_long_line(self) -> None:
        """A line is cut at its limit, also one that never ends."""
        for _ in range(1000):
            self.progress.received(1, b"x" * 4096)
        self.progress.received(1, b"\nnext\n")
        self.assertEqual(self.lines, ["x" * LONGEST + "…", "next"])

    def test_rate(self) -> None:
        """Beyond the burst, lines are left out and counted, and come again as time passes."""
        self.progress.received(1, b"x\n" * (BURST + 7))
        self.assertEqual(len(self.lines), BURST)
        self.clock.advance(1)
        self.progress.received(1, b"y\n")
        self.assertEqual(self.lines[BURST:], ["(lines left out: 7)", "y"])
        self.progress.received(1, b"z\n" * BURST)
        self.assertEqual(len(self.lines), BURST + 2 + int(RATE) - 1)

    def test_end(self) -> None:
        """The end passes on an unfinished line and says what is missing, however much there was."""
        self.progress.received(1, b"x\n" * (BURST + 1) + b"last words")
        self.progress.ended()
        self.assertEqual(self.lines[BURST:], ["(lines left out: 1)", "last words"])
        self.progress.ended()
        self.assertEqual(len(self.lines), BURST + 2)

    @given(st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=2000)), max_size=20))
    def test_bounded(self, pieces: list[tuple[int, bytes]]) -> None:
        """Whatever is printed, each line told is printable, not empty and not too long."""
        lines: list[str] = []
        progress = Progress(lines.append, self.clock.seconds)
        for descriptor, data in pieces:
            progress.received(descriptor, data)
        progress.ended()
        self.assertTrue(all(line.strip() and line.isprintable() and len(line) <= LONGEST + 1 for line in lines))
        self.assertLessEqual(len(lines), BURST + 4)
