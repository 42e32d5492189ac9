"""The report as text and as a page, and progress."""

from __future__ import annotations

import io
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.loadtest.reports import outcome, report_of, stats_of
from tests.runtime.test_terminal import REWRITE, XTERM, FakeTerminal
from vespa.loadtest.outcome import MEANINGS
from vespa.loadtest.page import page
from vespa.loadtest.plan import Plan
from vespa.loadtest.plots import HEIGHT, WIDTH, Axis, spanning, up_to
from vespa.loadtest.progress import LINE_SECONDS, LIVE_SECONDS, Progress
from vespa.loadtest.report import Report
from vespa.loadtest.run_stats import RunStats
from vespa.loadtest.text import WIDTH as COLUMNS
from vespa.loadtest.text import intention, progress
from vespa.loadtest.text import table as report_on
from vespa.loadtest.units import duration, short, size, three, tick
from vespa.runtime.terminal import Terminal

HOSTILE = "</td><script>alert('1')</script> \x1b[31m & \"quoted\"\n\u2028next"


def table(report: Report, stream: io.StringIO | None = None) -> str:
    """The report as a pipe gets it, or another stream."""
    return report_on(report, stream or io.StringIO(), {**XTERM, "COLUMNS": str(COLUMNS)})


def mixed() -> Report:
    outcomes = [outcome(number / 10, 0.5 + number % 7 / 10, pieces=5, tokens=6) for number in range(50)]
    outcomes += [
        outcome(1 + number, 0.01, kind, status=500, code="c", message="m") for number, kind in enumerate(MEANINGS)
    ]
    return report_of(stats_of(*outcomes))


def hostile() -> Report:
    report = report_of(stats_of(outcome(0, 1.0), outcome(0, 1.0, "status", status=500, code=HOSTILE, message=HOSTILE)))
    about = evolve(report.about, target=HOSTILE, path="/" + HOSTILE, benchmark=HOSTILE)
    return evolve(report, about=about, interrupted=HOSTILE, remarks=(HOSTILE,))


class TableTests(SynchronousTestCase):
    def test_says_all(self) -> None:
        """Counts, statuses, rates, times and every kind of failure are in the table."""
        text = table(mixed())
        for said in (
            "58 sent, 50 succeeded (86.21%), 7 failed, 1 given up, in",
            "200: 50, 500: 6",
            "as the backend counts",
            "latency",
            "first token",
            "endpoint my-llm",
        ):
            self.assertIn(said, text)
        for kind in set(MEANINGS) - {"unfinished"}:
            self.assertRegex(text, rf"\n +1  {kind} ")

    def test_without_success(self) -> None:
        """Where nothing succeeded the table says so instead of zeros."""
        self.assertIn("no request succeeded", table(report_of(stats_of(outcome(0, 1, "timeout")))))
        self.assertIn("0 sent", table(report_of(RunStats())))

    def test_long_message(self) -> None:
        """What a failure said is there in full, in lines beneath each other; what cannot be broken stays whole."""
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
        for place in range(4):
            self.assertEqual(len({[unit.end() for unit in re.finditer(" m?s", row)][place] for row in rows}), 1)
        self.assertFalse([line for line in lines if line != line.rstrip()])

    def test_styles(self) -> None:
        """A terminal gets colours, and the same words as a pipe."""
        shown = table(mixed(), FakeTerminal())
        self.assertIn("\x1b[36mrequests", shown)
        plain = [line.rstrip() for line in re.sub(r"\x1b\[[\d;]*m", "", shown).splitlines()]
        self.assertEqual(plain, table(mixed()).splitlines())

    def test_intentions(self) -> None:
        """What is planned reads as a sentence."""
        about = mixed().about
        self.assertEqual(
            intention(about, Plan(requests=100, rps=10)),
            "100 requests, 10 a second, to endpoint my-llm: POST /v1/chat/completions, streamed, cost 500",
        )
        self.assertIn("requests for 60 s, 4 at a time", intention(about, Plan(requests=0, duration=60, concurrency=4)))
        self.assertIn("(Poisson), at most 9 under way", intention(about, Plan(rps=1, poisson=True, concurrency=9)))


class _Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.policies: list[str | None] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [f"{name}={value}" for name, value in attrs if name in ("href", "src", "srcset", "action")]
        if ("http-equiv", "Content-Security-Policy") in attrs:
            self.policies.append(dict(attrs)["content"])


class PageTests(SynchronousTestCase):
    def test_stands_alone(self) -> None:
        """The page needs nothing but itself: no script, no link, no address of anything to load."""
        text = page(mixed())
        found = _Page(text)
        self.assertEqual(found.links, [])
        self.assertFalse(
            {"script", "link", "img", "iframe", "object", "image", "use", "foreignobject"} & set(found.tags)
        )
        self.assertNotRegex(text, r"url\(|@import|javascript:")
        self.assertEqual(found.policies, ["default-src 'none'; style-src 'unsafe-inline'"])

    def test_hostile(self) -> None:
        """No text from outside becomes markup, or begins a line of its own."""
        text = page(hostile())
        self.assertNotIn("script", _Page(text).tags)
        self.assertNotIn("\x1b", text)
        self.assertNotIn("\u2028", text)
        self.assertFalse([line for line in text.splitlines() if line.startswith("next")])
        self.assertIn("&lt;script&gt;", text)

    def test_plots(self) -> None:
        """Every plot is well-formed, and nothing in it stands outside of it."""
        for report in (mixed(), hostile(), report_of(RunStats()), report_of(stats_of(outcome(0, 0.0)))):
            text = page(report)
            self.assertGreaterEqual(text.count("<figure"), 4)
            for plot in re.findall(r"<svg.*?</svg>", text, re.S):
                self.check(ElementTree.fromstring(plot))
            for share in re.findall(r"(?:left|bottom|width): ([^;]*?)%\"", text):
                self.assertTrue(0 <= float(share) <= 100)

    def check(self, svg: ElementTree.Element) -> None:
        self.assertEqual(svg.attrib["viewBox"], f"0 0 {WIDTH} {HEIGHT}")
        self.assertGreaterEqual(len(svg), 2)
        for element in svg:
            path = element.attrib["d"]
            for x in re.findall(r"[MLH](-?[\d.]+)", path):
                self.assertTrue(0 <= float(x) <= WIDTH, path)
            for y in re.findall(r"(?:[ML]-?[\d.]+ |V)(-?[\d.]+)", path):
                self.assertTrue(0 <= float(y) <= HEIGHT, path)

    def test_light_and_dark(self) -> None:
        """The page follows the reader's colours."""
        self.assertIn("prefers-color-scheme: dark", page(mixed()))

    def test_many_endings(self) -> None:
        """Of many kinds of failure the most frequent have a bar each, and the rest one together."""
        failed = [outcome(0, 1, "status", status=500, code=str(code)) for code in range(20) for _ in range(21 - code)]
        text = page(report_of(stats_of(outcome(0, 1), *failed, outcome(0, 1, "unfinished"))))
        bars = re.findall(r"<span>(.*?)</span><i class=.*?width: ([\d.]+)%.*?<b>([\d,]+)</b>", text)
        self.assertEqual([label for label, _, _ in bars[:3]], ["succeeded", "status: 500 0", "status: 500 1"])
        self.assertEqual([label for label, _, _ in bars[-2:]], ["10 others", "given up"])
        self.assertEqual(sum(int(count) for _, _, count in bars), len(failed) + 2)
        self.assertAlmostEqual(sum(float(width) for _, width, _ in bars), 100, delta=0.1)


class AxisTests(SynchronousTestCase):
    @given(st.floats(1e-6, 1e6), st.floats(0, 1e6))
    def test_ticks(self, high: float, low: float) -> None:
        """Named values lie on the axis, in order, and there are a few."""
        for axis in (up_to(high, str), spanning(min(low, high), high, str)):
            found = axis.ticks()
            self.assertEqual(found, sorted(set(found)))
            self.assertTrue(1 <= len(found) <= 9, found)
            for value in found:
                self.assertTrue(-1e-8 <= axis.share(value) <= 1 + 1e-8)

    def test_known(self) -> None:
        """Ticks are round numbers."""
        self.assertEqual(Axis(10, str).ticks(), [0, 2, 4, 6, 8, 10])
        self.assertEqual(Axis(30, str, 0.01).ticks(), [0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30])
        self.assertEqual(up_to(0.73, str).high, 0.8)
        self.assertEqual(up_to(0, str).high, 1.0)


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


class ProgressTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()

    def progress(self, stream: io.StringIO) -> Progress:
        return Progress(self.clock, self.clock.seconds, Terminal(stream, XTERM, width=200))

    def test_line(self) -> None:
        """The line has all that one wants to see, and how much of the plan is done."""
        stats = stats_of(outcome(0, 1.0), outcome(0, 1.0, "timeout"))
        text = progress(stats, Plan(requests=4), 10.0, waiting="waiting\x1b")
        said = "10 s  sent 2  done 2  in flight 0  ok 1  failed 1  0.10 ok/s  p50 1.00 s  waiting "
        self.assertEqual(text, f"[##########----------]  {said}")
        self.assertIn("[####------", progress(stats, Plan(requests=0, duration=50), 10.0))
        self.assertIn("[####################]", progress(stats, Plan(requests=1, duration=5), 10.0))

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
