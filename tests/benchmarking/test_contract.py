"""The valid results of a benchmark."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from twisted.trial.unittest import SynchronousTestCase

from vespa.benchmarking.contract import Figure, Level, listen, report_level, report_progress, throughput


class ThroughputTests(SynchronousTestCase):
    def test_numbers(self) -> None:
        """Any finite real number above zero is a throughput."""
        for value, expected in ((1, 1.0), (2.5, 2.5), (Fraction(1, 2), 0.5), (Figure(3.0, 4), 3.0)):
            self.assertEqual(throughput(value), expected)

    def test_others(self) -> None:
        """Anything else is refused with the reason."""
        for value, reason in (
            (float("nan"), "not a finite number"),
            (float("-inf"), "not a finite number"),
            (10**400, "too large"),
            (0, "0 is not above zero"),
            (-1.5, "-1.5 is not above zero"),
            (True, "bool is not a number"),
            (Decimal(1), "Decimal is not a number"),
            ("1", "str is not a number"),
            (None, "NoneType is not a number"),
        ):
            error = self.assertRaises(ValueError, throughput, value)
            self.assertIn(reason, str(error))


class FigureTests(SynchronousTestCase):
    def test_number(self) -> None:
        """A figure is a number that says how it was measured."""
        figure = Figure(5.0, 32, "tiny")
        self.assertEqual((figure, figure.concurrency, figure.served), (5.0, 32, "tiny"))
        self.assertEqual((Figure(5).concurrency, Figure(5).served), (0, ""))

    def test_checked(self) -> None:
        """Nonsense beside a throughput counts as unknown; a throughput that is none is refused."""
        for told, expected in ((32, 32), (None, 0), ("32", 0), (-1, 0), (True, 0), (2.0, 0)):
            self.assertEqual(Figure.checked(2.0, told).concurrency, expected)
        for told, named in (("tiny", "tiny"), (None, ""), (5, "")):
            self.assertEqual(Figure.checked(2.0, 1, told).served, named)
        self.assertRaises(ValueError, Figure.checked, "2.0", 1)


class LevelTests(SynchronousTestCase):
    def test_reported(self) -> None:
        """What a benchmark reports goes to the listener, if there is one."""
        said: list[object] = []
        level = Level(4, 160.0, 0.02, "tokens", 16, 0, 2.0)
        report_level(level)
        self.addCleanup(listen, None)
        listen(said.append)
        report_level(level)
        for share in (0.5, -1.0, 2.0):
            report_progress(share)
        listen(None)
        report_progress(0.1)
        self.assertEqual(said, [{"level": level.values()}, {"progress": 0.5}, {"progress": 0.0}, {"progress": 1.0}])

    def test_checked(self) -> None:
        """Values of another process are a level, or refused."""
        level = Level(4, 160.0, None, "tokens")
        self.assertEqual(Level.checked(level.values()), level)
        for values in (
            None,
            {"x": 1},
            {"concurrency": "4"},
            {"concurrency": -1},
            {"throughput": float("nan")},
            {"throughput": True},
            {"spread": "x"},
            {"unit": 1},
            {"ended": 1.5},
        ):
            self.assertRaises(ValueError, Level.checked, values)
