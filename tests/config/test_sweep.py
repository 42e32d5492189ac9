"""Texts of sweeps."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from vespa.config.sweep import MOST, Sweep, sweep


class SweepTests(SynchronousTestCase):
    def test_levels(self) -> None:
        """Levels are listed, or double from one to another, which is always the last."""
        for raw, values in (
            ("concurrency=1,2,4", (1, 2, 4)),
            (" concurrency = 3 , 7 ", (3, 7)),
            ("concurrency=1..64", (1, 2, 4, 8, 16, 32, 64)),
            ("concurrency=3..20", (3, 6, 12, 20)),
            ("concurrency=1..4,5,10..40", (1, 2, 4, 5, 10, 20, 40)),
        ):
            self.assertEqual(sweep(raw), Sweep("concurrency", values))
        self.assertEqual(sweep("rps=0.5,1,2.5"), Sweep("rps", (0.5, 1, 2.5)))

    def test_mistakes(self) -> None:
        """The error says what is wrong, and shows examples."""
        for raw, said in (
            ("", "must be concurrency= or rps= and the levels, such as concurrency=1,2,4,8"),
            ("1,2,4", "must be concurrency= or rps="),
            ("rate=1,2", "must be concurrency= or rps="),
            ("concurrency", "must be concurrency= or rps="),
            ("concurrency=", "nothing is no level: it must be a whole number above 0"),
            ("concurrency=1,x", "x is no level"),
            ("concurrency=1,2.5", "2.5 is no level: it must be a whole number"),
            ("concurrency=0,1", "0 is no level"),
            ("rps=1,-2", "-2 is no level: it must be a number above 0"),
            ("concurrency=8..2", "8..2 must rise from at least 1"),
            ("concurrency=0..8", "0..8 must rise"),
            ("concurrency=4,2", "must have levels that rise"),
            ("concurrency=2,2", "must have levels that rise"),
            ("concurrency=" + ",".join(map(str, range(1, MOST + 2))), f"has {MOST + 1} levels: at most {MOST}"),
        ):
            with self.assertRaises(ValueError) as raised:
                sweep(raw)
            self.assertIn(said, str(raised.exception), raw)
