"""Figures as people read them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from vespa.loadtest.units import duration, short, size, three, tick


class UnitTests(SynchronousTestCase):
    def test_units(self) -> None:
        """Figures have three digits and the unit that makes them short."""
        self.assertEqual(
            [duration(value) for value in (0, 0.0000123, 0.0123, 0.9996, 1.234, 312.4)],
            ["0 s", "12.3 us", "12.3 ms", "1.00 s", "1.23 s", "312 s"],
        )
        self.assertEqual(
            [tick(value) for value in (0, 0.05, 0.9, 1.5, 2e-5)], ["0 s", "50 ms", "900 ms", "1.5 s", "20 us"]
        )
        self.assertEqual([size(value) for value in (0, 999, 1500, 2.5e6)], ["0 B", "999 B", "1.50 kB", "2.50 MB"])
        self.assertEqual([short(value) for value in (0, 0.25, 1500, 2e6)], ["0", "0.25", "1.5k", "2M"])
        self.assertEqual(three(12345.6), "12,346")
