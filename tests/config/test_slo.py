"""Texts of objectives."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from vespa.config.slo import SLO, seconds, slo


class SLOTests(SynchronousTestCase):
    def test_objectives(self) -> None:
        """Any of the kinds, in any order, with their units."""
        self.assertEqual(slo("ttft=500ms,tpot=50ms"), SLO(ttft=0.5, tpot=0.05))
        self.assertEqual(slo(" e2e = 2.5s , ttft = 800us "), SLO(ttft=0.0008, e2e=2.5))
        self.assertEqual(slo("tpot=50ms,e2e=2s").limits, {"tpot": 0.05, "e2e": 2.0})

    def test_mistakes(self) -> None:
        """The error names the part that is wrong, and shows the right form."""
        for raw, said in (
            ("", "an empty part is not an objective: use ttft, tpot, e2e, as in ttft=500ms"),
            ("ttft=500ms,", "an empty part is not an objective"),
            ("itl=5ms", "itl is not an objective"),
            ("ttft", "nothing is not a time: write a number and us, ms or s"),
            ("ttft=500", "500 is not a time"),
            ("ttft=5m", "5m is not a time"),
            ("ttft=-5ms", "-5ms is not a time"),
            ("ttft=0ms", "0ms must be more than 0"),
            ("ttft=1ms,ttft=2ms", "ttft is there twice"),
        ):
            with self.assertRaises(ValueError) as raised:
                slo(raw)
            self.assertIn(said, str(raised.exception))

    def test_seconds(self) -> None:
        """A time is a number with a unit."""
        found = [seconds(raw) for raw in ("1s", ".5s", "1.5s", "20ms", "7us")]
        for value, expected in zip(found, (1.0, 0.5, 1.5, 0.02, 7e-6), strict=True):
            self.assertAlmostEqual(value, expected)
