"""The report as a page."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from tests.loadtest.reports import HOSTILE, hostile, mixed, outcome, report_of, stats_of, swept
from vespa.config.thresholds import threshold
from vespa.loadtest.page import page, sweep_page
from vespa.loadtest.plots import HEIGHT, WIDTH
from vespa.loadtest.run_stats import RunStats
from vespa.loadtest.thresholds import check


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


def sweep(*fail_if: str) -> str:
    """The page of a sweep."""
    checks = [check(level.report, map(threshold, fail_if)) for level in swept().levels]
    return sweep_page(swept(), "the plan", checks)


class PageTests(SynchronousTestCase):
    def test_stands_alone(self) -> None:
        """The page needs nothing but itself: no script, no link, no address of anything to load."""
        for text in (page(mixed()), sweep()):
            found = _Page(text)
            self.assertEqual(found.links, [])
            self.assertFalse(
                {"script", "link", "img", "iframe", "object", "image", "use", "foreignobject"} & set(found.tags)
            )
            self.assertNotRegex(text, r"url\(|@import|javascript:")
            self.assertEqual(found.policies, ["default-src 'none'; style-src 'unsafe-inline'"])

    def test_hostile(self) -> None:
        """No text from outside becomes markup, or begins a line of its own."""
        report = swept()
        levels = tuple(evolve(level, report=hostile()) for level in report.levels)
        bad = evolve(report, levels=levels, about=hostile().about, interrupted=HOSTILE)
        for text in (page(hostile()), sweep_page(bad, HOSTILE, [()] * 3)):
            self.assertNotIn("script", _Page(text).tags)
            self.assertNotIn("\x1b", text)
            self.assertNotIn("\u2028", text)
            self.assertFalse([line for line in text.splitlines() if line.startswith("next")])
            self.assertIn("&lt;script&gt;", text)

    def test_plots(self) -> None:
        """Every plot is well-formed, and nothing in it stands outside of it."""
        reports = (mixed(), hostile(), report_of(RunStats()), report_of(stats_of(outcome(0, 0.0))))
        for text in (*map(page, reports), sweep()):
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

    def test_labels_fit(self) -> None:
        """Texts of plots are no smaller on a phone than elsewhere."""
        style = page(mixed()).partition("</style>")[0]
        wide, phone = style.split("@media (max-width: 560px)")
        sizes = [int(re.findall(r"\.plot {[^}]*font-size: (\d+)px", part)[0]) for part in (wide, phone)]
        self.assertGreaterEqual(sizes[1], sizes[0])

    def test_thresholds(self) -> None:
        """Thresholds are shown with what was measured, and in a sweep for each level."""
        report = report_of(stats_of(outcome(0, 1.0)))
        text = page(report, check(report, [threshold("p99>2s")]))
        self.assertRegex(text, '<td>p99&gt;2s</td><td>1.00 s</td><td class="good">passed</td>')
        self.assertNotIn("Thresholds", page(report))
        self.assertEqual(len(re.findall(r'<td>concurrency \d</td><td class="(?:good|bad)">', sweep("p50>300ms"))), 3)
        self.assertIn('<td class="bad">2.00 s: failed</td>', sweep("p50>300ms"))
        self.assertNotIn("Thresholds", sweep())

    def test_sweep(self) -> None:
        """The page of a sweep has curves over all levels, a row for each, and its whole report to open."""
        text = sweep()
        self.assertEqual(text.count("<details"), 3)
        self.assertIn("<b>Concurrency 4</b>", text)
        self.assertIn("Latency against output tokens a second", text)
        self.assertEqual(len(re.findall(r'class="at" style=.*?>([124])</span>', text)), 9)

    def test_light_and_dark(self) -> None:
        """The page follows the reader's colours."""
        self.assertIn("prefers-color-scheme: dark", page(mixed()))

    def test_verdict(self) -> None:
        """The share of successes has a colour of its own if few requests failed."""
        good, failed = outcome(0, 1), outcome(0, 0.1, "status", status=429)
        for outcomes, style in (([good], "good"), ([*[good] * 200, failed], "few"), ([good, failed], "bad")):
            self.assertRegex(page(report_of(stats_of(*outcomes))), rf'<b class="{style}">[\d.]+%</b>')

    def test_many_endings(self) -> None:
        """Of many kinds of failure the most frequent have a bar each, and the rest one together."""
        failed = [outcome(0, 1, "status", status=500, code=str(code)) for code in range(20) for _ in range(21 - code)]
        text = page(report_of(stats_of(outcome(0, 1), *failed, outcome(0, 1, "unfinished"))))
        bars = re.findall(r"<span>(.*?)</span><i class=.*?width: ([\d.]+)%.*?<b>([\d,]+)</b>", text)
        self.assertEqual([label for label, _, _ in bars[:3]], ["succeeded", "status: 500 0", "status: 500 1"])
        self.assertEqual([label for label, _, _ in bars[-2:]], ["10 others", "given up"])
        self.assertEqual(sum(int(count) for _, _, count in bars), len(failed) + 2)
        self.assertAlmostEqual(sum(float(width) for _, width, _ in bars), 100, delta=0.1)
