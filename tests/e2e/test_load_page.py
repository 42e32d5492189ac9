"""The pages of `vespa-proxy load --html` as a browser draws them, on a desktop and on a phone."""

from __future__ import annotations

import json
from typing import Any

from tests.e2e.chromium import ChromiumCase
from tests.loadtest.reports import mixed, swept
from vespa.config.thresholds import threshold
from vespa.loadtest.page import page, sweep_page
from vespa.loadtest.thresholds import check

PHONE, DESKTOP = 390, 1280
READABLE = 13
"""The smallest size of a text in pixels, as the browser shows it."""

# The report stands in a frame of each width: a frame is what its media queries ask for.
MEASURING = """<!doctype html><script type="module">
const report = %s, result = {};
for (const width of %s) {
  const frame = document.createElement("iframe");
  frame.style.cssText = `width: ${width}px; height: 900px; border: 0`;
  frame.srcdoc = report;
  const loaded = new Promise(done => { frame.onload = done; });
  document.body.append(frame);
  await loaded;
  const inner = frame.contentDocument, view = frame.contentWindow;
  for (const one of inner.querySelectorAll("details")) one.open = true;
  const box = one => one.getBoundingClientRect();
  const seen = [...inner.querySelectorAll(".plot > span")].filter(one => box(one).width);
  const overlaps = (one, other) => {
    const a = box(one), b = box(other);
    return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
  };
  const ticks = [...inner.querySelectorAll(".plot")].flatMap(plot => [".up", ".across"].map(
    kind => [...plot.querySelectorAll(kind)].filter(one => box(one).width)));
  result[width] = {
    width: inner.documentElement.scrollWidth,
    labels: seen.length,
    smallest: Math.min(...[...inner.querySelectorAll("span, td, p, dd, summary")].map(
      one => parseFloat(view.getComputedStyle(one).fontSize))),
    colliding: ticks.flatMap(labels => labels.filter((one, at) => at && overlaps(labels[at - 1], one)))
      .map(one => one.textContent),
    flat: [...inner.querySelectorAll("svg")].filter(one => box(one).height < 150 || box(one).width < 150).length,
    outside: seen.filter(one => box(one).left < 0 || box(one).right > width).map(one => one.textContent),
    marks: [...inner.querySelectorAll(".marks")].map(one => [one.tagName, one.nextElementSibling?.tagName ?? ""]),
  };
}
await fetch(location.hash.slice(1), {method: "POST", mode: "no-cors", body: JSON.stringify(result)});
</script>"""


class LoadPageTests(ChromiumCase):
    async def measure(self, report: str) -> dict[str, dict[str, Any]]:
        """What the browser found, by the width of the page."""
        document = MEASURING % (json.dumps(report).replace("</", "<\\/"), json.dumps([PHONE, DESKTOP]))
        url, _ = await self.serve_page(document)
        return await self.open_page(url)

    async def test_pages(self) -> None:
        """Texts are large enough, none collides with another or leaves the page, and no page is too wide."""
        limits = [threshold("p99>1s"), threshold("errors>1%")]
        sweep = swept()
        pages = {
            "test": page(mixed(), check(mixed(), limits)),
            "sweep": sweep_page(sweep, "the plan", [check(level.report, limits) for level in sweep.levels]),
        }
        for name, text in pages.items():
            found = await self.measure(text)
            for width in (PHONE, DESKTOP):
                with self.subTest(page=name, width=width):
                    drawn = found[str(width)]
                    self.assertLessEqual(drawn["width"], width)
                    self.assertGreaterEqual(drawn["smallest"], READABLE)
                    self.assertGreater(drawn["labels"], 20)
                    self.assertEqual((drawn["colliding"], drawn["outside"], drawn["flat"]), ([], [], 0))

    async def test_marks(self) -> None:
        """Marks of failed requests are the last that is drawn in their plot."""
        drawn = (await self.measure(page(mixed())))[str(DESKTOP)]
        self.assertIn(["path", ""], drawn["marks"])
