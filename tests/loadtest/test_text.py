"""The text before a test, while it runs, and at its end."""

from __future__ import annotations

import io
import re

from twisted.trial.unittest import SynchronousTestCase

from tests.loadtest.reports import hostile, mixed, outcome, report_of, stats_of
from tests.runtime.test_terminal import XTERM, FakeTerminal
from vespa.config.thresholds import threshold
from vespa.loadtest.outcome import MEANINGS
from vespa.loadtest.plan import Plan
from vespa.loadtest.report import Report
from vespa.loadtest.run_stats import RunStats
from vespa.loadtest.text import WIDTH as COLUMNS
from vespa.loadtest.text import intention
from vespa.loadtest.text import table as report_on
from vespa.loadtest.thresholds import check


def table(report: Report, stream: io.StringIO | None = None, *fail_if: str) -> str:
    """The report as a pipe gets it, or another stream."""
    checks = check(report, map(threshold, fail_if))
    return report_on(report, stream or io.StringIO(), {**XTERM, "COLUMNS": str(COLUMNS)}, checks)


class TableTests(SynchronousTestCase):
    def test_says_all(self) -> None:
        """Counts, statuses, rates, times and every kind of failure are in the table."""
        text = table(mixed())
        for said in (
            "58 sent, 50 succeeded (86.21%), 7 failed, 1 given up, in",
            "200: 50, 500: 6",
            "300 in all, as the backend counts",
            "1,500 in all, as the backend counts",
            "45.61% within TTFT 400 ms, TPOT 200 ms, E2E 1 s",
            "per token (TPOT)",
            "p95",
            "latency",
            "first token",
            "endpoint my-llm",
        ):
            self.assertIn(said, text)
        for kind in set(MEANINGS) - {"unfinished"}:
            self.assertRegex(text, rf"\n +1  {kind} ")

    def test_counts_of_tokens(self) -> None:
        """The table says who counted the tokens, or that nobody did."""
        for pieces, tokens, said in (
            (4, None, "4 in all, as pieces of streams"),
            (0, None, "output      none counted"),
        ):
            text = table(report_of(stats_of(outcome(0, 1.0, pieces=pieces, tokens=tokens))))
            self.assertIn(said, text)
            self.assertIn("the backend reports none", text)
        both = table(report_of(stats_of(outcome(0, 1.0, pieces=4), outcome(0, 1.0, tokens=5))))
        self.assertIn("9 in all, some as the backend counts, some as pieces of streams", both)

    def test_thresholds(self) -> None:
        """Each threshold is shown with the value that it was compared with."""
        lines = table(mixed(), None, "p50>1s", "ttft>10ms").splitlines()[-3:]
        self.assertEqual([line.split() for line in lines][0], ["fail", "if", "it", "was"])
        self.assertEqual(lines[1].split(), ["p50>1s", "800", "ms", "passed"])
        self.assertEqual(lines[2].split(), ["ttft>10ms", "550", "ms", "FAILED"])
        self.assertNotIn("fail if", table(mixed()))

    def test_without_success(self) -> None:
        """If no request succeeded, the table says so instead of zeros."""
        self.assertIn("no request succeeded", table(report_of(stats_of(outcome(0, 1, "timeout")))))
        self.assertIn("0 sent", table(report_of(RunStats())))

    def test_long_message(self) -> None:
        """A failure's message is complete, wrapped into lines; a long word stays whole."""
        address = "http://" + "x" * 120
        message = f"{'the model is not there ' * 20}{address} end"
        text = table(report_of(stats_of(outcome(0, 1.0, "status", status=404, code="c" * 70, message=message))))
        lines = text.splitlines()
        first = next(place for place, line in enumerate(lines) if line.startswith("failures"))
        column = lines[first].index("the first of them")
        said = [line[column:] for line in lines[first + 1 :]]
        self.assertEqual(" ".join(said), message)
        self.assertIn(address, said)
        self.assertTrue(all(not line[:column].strip() for line in lines[first + 2 :]))

    def test_hostile(self) -> None:
        """No text of a server's can drive the terminal or forge a line."""
        text = table(hostile())
        self.assertNotIn("\x1b", text)
        self.assertNotIn("\u2028", text)
        self.assertFalse([line for line in text.splitlines() if line.startswith("next")])

    def test_aligned(self) -> None:
        """Columns of figures end at the same place, and no line ends in spaces."""
        lines = table(mixed()).splitlines()
        rows = [line for line in lines if line.startswith(("latency", "first byte", "first token"))]
        self.assertEqual(len(rows), 3)
        for place in range(6):
            self.assertEqual(len({[unit.end() for unit in re.finditer(" m?s", row)][place] for row in rows}), 1)
        self.assertFalse([line for line in lines if line != line.rstrip()])

    def test_styles(self) -> None:
        """A terminal gets colours, and the same words as a pipe."""
        shown = table(mixed(), FakeTerminal())
        self.assertIn("\x1b[36mrequests", shown)
        plain = [line.rstrip() for line in re.sub(r"\x1b\[[\d;]*m", "", shown).splitlines()]
        self.assertEqual(plain, table(mixed()).splitlines())

    def test_few_failures(self) -> None:
        """A failure among many is not shown in red, as a failed test is."""
        few = stats_of(*[outcome(0, 1.0)] * 200, outcome(0, 0.1, "status", status=429))
        self.assertIn("\x1b[33mfailures", table(report_of(few), FakeTerminal()))
        self.assertIn("\x1b[31mfailures", table(mixed(), FakeTerminal()))

    def test_intentions(self) -> None:
        """The plan is a sentence."""
        about = mixed().about
        self.assertEqual(
            intention(about, Plan(requests=100, rps=10)),
            "100 requests, 10 a second, to endpoint my-llm: POST /v1/chat/completions, streamed, cost 500",
        )
        self.assertIn("requests for 60 s, 4 at a time", intention(about, Plan(requests=0, duration=60, concurrency=4)))
        self.assertIn("(Poisson), at most 9 in flight", intention(about, Plan(rps=1, poisson=True, concurrency=9)))
