"""Tests of `vespa.checking.benchmark_table`."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from vespa.benchmarking.contract import Figure, Level
from vespa.checking.benchmark_table import Measured, plain_table, sentences, to_json

LEVELS = (
    Level(4, 160.0, 0.02, "tokens", 16, 0, 2.0),
    Level(8, 300.0, None, "tokens", 32, 1, 2.25),
    Level(16, 310.0, 0.1, "tokens", 60, 0, 2.0),
    Level(16, 330.0, 0.1, "tokens", 60, 0, 2.0),
)


def measured(*levels: Level, figure: Figure | None = None, saved: str = "") -> Measured:
    return Measured("a:b", "http://a", figure or Figure(320.0, 16), levels, 8.25, saved)


class TableTests(SynchronousTestCase):
    def test_table(self) -> None:
        """Each level has its row; the one that gave the figure is marked."""
        self.assertEqual(
            plain_table(measured(*LEVELS, figure=Figure(330.0, 16))).splitlines(),
            [
                "at once      throughput  spread  ended  failed  seconds",
                "      4  160.0 tokens/s    ± 2%     16       0      2.0",
                "      8  300.0 tokens/s       -     32       1      2.2",
                "     16  310.0 tokens/s   ± 10%     60       0      2.0",
                "     16  330.0 tokens/s   ± 10%     60       0      2.0  <- reported",
            ],
        )

    def test_no_levels(self) -> None:
        """A benchmark that reports no levels has no table, only a figure."""
        self.assertEqual(plain_table(measured()), "")
        self.assertEqual(sentences(measured(figure=Figure(5.0))), ["A worker would report 5.0 units/s, as max_perf."])

    def test_sentences(self) -> None:
        """The figure as reported, how much repeated measurements differ, and the file."""
        self.assertEqual(
            sentences(measured(*LEVELS, saved="/a/b")),
            [
                "A worker would report 320.0 tokens/s with 16 requests at once, as max_perf.",
                "The 2 measurements with 16 at once have a standard deviation of 4%.",
                "The result is kept in /a/b.",
            ],
        )

    def test_json(self) -> None:
        """Programs get the same."""
        found = json.loads(json.dumps(to_json(measured(*LEVELS), "1.2")))
        self.assertEqual((found["throughput"], found["concurrency"], found["unit"]), (320.0, 16, "tokens"))
        self.assertEqual(found["levels"][1], LEVELS[1].values())
