"""The status page in a real browser: what it shows, to whom, and that it stays so while things change."""

from __future__ import annotations

from typing import Any

from tests.observability.browser import Browser, BrowserCase
from tests.observability.example import Example, ExampleRequest, ExampleServer
from vespa.accounting.lifecycle import FAILED

LIVE = "document.getElementById('live')?.textContent === 'live' && !document.getElementById('main').hidden"

# The lowest contrast of a visible text with what is painted behind it, by WCAG's formula, and where that is.
CONTRAST = """(() => {
  const channel = (c) => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const parse = (text) => { const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number); return {r, g, b, a}; };
  const over = (top, under) => ({
    r: top.r * top.a + under.r * (1 - top.a), g: top.g * top.a + under.g * (1 - top.a),
    b: top.b * top.a + under.b * (1 - top.a), a: 1,
  });
  const light = (c) => 0.2126 * channel(c.r / 255) + 0.7152 * channel(c.g / 255) + 0.0722 * channel(c.b / 255);
  const behind = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) layers.push(parse(getComputedStyle(at).backgroundColor));
    return layers.reverse().reduce((under, top) => over(top, under), {r: 255, g: 255, b: 255, a: 1});
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement, text = walker.currentNode.textContent.trim();
    if (!text || ["SCRIPT", "STYLE", "NOSCRIPT", "OPTION"].includes(element.tagName)) continue;
    if (!element.checkVisibility({checkOpacity: true}) || element.closest(".hidden")) continue;
    const style = getComputedStyle(element), isSvg = element instanceof SVGElement;
    const ground = behind(element), ink = over(parse(isSvg ? style.fill : style.color), ground);
    const [high, low] = [light(ink), light(ground)].sort((a, b) => b - a);
    found.push([(high + 0.05) / (low + 0.05), text.slice(0, 40)]);
  }
  found.sort((a, b) => a[0] - b[0]);
  return {count: found.length, worst: found.slice(0, 3)};
})()"""

# Elements that reach over the right edge of a phone of 360 pixels.
WIDE = """[...document.querySelectorAll('body *')]
  .filter((e) => e.checkVisibility() && !e.closest('svg, .hidden, .strip, thead'))
  .filter((e) => e.getBoundingClientRect().right > 361)
  .map((e) => e.tagName + '.' + e.className + ' ' + e.textContent.slice(0, 30))"""
# The middle of the first plot.
MIDDLE = """(() => {
  const plot = document.querySelector('.plot');
  plot.scrollIntoView({block: 'center'});
  const box = plot.getBoundingClientRect();
  return {x: box.left + box.width / 2, y: box.top + box.height / 2};
})()"""

LONG = "x" * 300
NASTY = "/<img src=x onerror=window.hit=1><script>window.hit=1</script>&lt;b&gt;\u202e\u0000javascript:window.hit=1"


class PageCase(BrowserCase):
    """An example behind the routes of the admin port, and a browser that looks at it."""

    async def serve(self, kind: str = "worker", **more: Any) -> tuple[ExampleServer, str]:
        server = ExampleServer(Example(kind, **more))
        self.addCleanup(server.stop)
        return server, await server.start()

    async def opened(self, kind: str = "worker", **look: Any) -> tuple[ExampleServer, Browser]:
        """A page that is live."""
        server, url = await self.serve(kind)
        browser = await self.browser()
        await browser.look(**look)
        await browser.open(url)
        await browser.until(LIVE)
        return server, browser

    async def text(self, browser: Browser, selector: str) -> str:
        """The visible text of the first element."""
        return str(await browser.run(f"document.querySelector({selector!r}).innerText"))

    async def assert_good(self, browser: Browser) -> None:
        """The browser has nothing to complain of, and asked nobody but the page's own server."""
        self.assertEqual(browser.complaints(), [])
        origin = await browser.run("location.origin")
        elsewhere = [url for url in browser.requested() if not url.startswith((origin, "data:"))]
        self.assertEqual(elsewhere, [])


class ShownTests(PageCase):
    async def test_states(self) -> None:
        """Each state is shown in words with its reason, and told once to a screen reader."""
        server, browser = await self.opened()
        example = server.example
        for state, word in (
            ("loading", "Loading"),
            ("benchmarking", "Benchmarking"),
            ("suspect", "Suspect"),
            ("errored", "Errored"),
            ("ready", "Ready"),
        ):
            reason = "" if state == "ready" else f"the cause of {state}"
            example.more = {"benchmark_lines": ["level 4: 120 units/s", "level 8: 210 units/s"]}
            example.enter(state, reason)
            await browser.until(f"document.getElementById('word').textContent === '{word}'")
            self.assertIn(reason.capitalize() or "requests are served", await self.text(browser, "#hero"))
            self.assertEqual("level 8: 210" in await self.text(browser, "#hero"), state == "benchmarking")
            announced = await browser.run("document.getElementById('announce').textContent")
            self.assertEqual(announced, f"The worker is {state}{reason and ': ' + reason}.")
            self.assertEqual(await browser.run("document.title"), f"{word} · Vespa worker")
        states = await self.text(browser, "#states-rows")
        self.assertIn("the cause of errored", states)
        await self.assert_good(browser)

    async def test_worker(self) -> None:
        """A worker's figures, plots, requests, parts and settings are there, and no secret."""
        _, browser = await self.opened()
        figures = await self.text(browser, "#figures")
        for word in ("Throughput", "of 1,240 in the benchmark", "Estimated wait", "limit 10 s", "queued of 1,000"):
            self.assertIn(word, figures)
        facts = await self.text(browser, "#facts")
        for word in ("http://127.0.0.1:8000", "llama-3.1-8b-instruct", "healthy", "https://run.vast.ai", "in 40 days"):
            self.assertIn(word, facts)
        drawn = "[...document.querySelectorAll('.plot svg')].map((svg) => svg.querySelectorAll('path').length)"
        self.assertEqual(len(await browser.run(drawn)), 6)
        self.assertGreater(min(await browser.run(drawn)), 3)
        self.assertEqual(await browser.run("document.querySelectorAll('#requests-rows tr').length"), 12)
        await browser.run("document.getElementById('more').click()")
        self.assertEqual(await browser.run("document.querySelectorAll('#requests-rows tr').length"), 50)
        self.assertNotIn("secret-of-the-example", await browser.run("document.documentElement.outerHTML"))
        await self.assert_good(browser)

    async def test_client(self) -> None:
        """A client's endpoint, workers and searches are there."""
        server, browser = await self.opened("client")
        workers = await self.text(browser, "#workers")
        for word in ("busy", "failing", "https://203.0.113.21:41022", "it answered busy"):
            self.assertIn(word, workers)
        self.assertIn("llama-70b", await self.text(browser, "header"))
        now = server.example.clock.seconds()
        server.example.more = {"searches": [{"since_at": now - 65.0, "status": "1 worker is loading"}]}
        await browser.until("!document.getElementById('searches').hidden")
        self.assertRegex(await self.text(browser, "#searches-rows"), r"1 min \d+ s\s+1 worker is loading")
        await self.assert_good(browser)

    async def test_young_process(self) -> None:
        """Plots and states of a young process are of fewer minutes, so that one sees what there is."""
        for seconds, words in ((10, "2 min ago"), (115, "2 min ago"), (150, "5 min ago"), (310, "15 min ago")):
            _, url = await self.serve(seconds=seconds)
            browser = await self.browser()
            await browser.look()
            await browser.open(url)
            await browser.until(LIVE)
            self.assertIn(words, await self.text(browser, "#axis"))
            texts = await browser.run("[...document.querySelectorAll('.plot text')].map((text) => text.textContent)")
            self.assertEqual(texts.count(words), 6, seconds)
            await browser.run("document.querySelector('.plot').focus()")
            await browser.press("Home")
            await browser.press("ArrowLeft")
            inside = "document.querySelector('.plot .hair').getBBox().x >= 0"
            self.assertTrue(await browser.run(inside))
            await self.assert_good(browser)

    async def test_no_benchmark(self) -> None:
        """A worker without a benchmark, which only an unsecured one may be, says so instead of a figure."""
        server, browser = await self.opened()
        server.example.more = {"benchmark_throughput": None, "estimated_wait_limit_seconds": None, "reports": False}
        await browser.until("document.getElementById('figures').innerText.includes('no benchmark is set')")
        self.assertIn("no limit", await self.text(browser, "#figures"))
        self.assertIn("reports to nobody", await self.text(browser, "#figures"))
        server.example.enter("loading", "no server listens")
        await browser.until("document.getElementById('figures').innerText.includes('no benchmark yet')")

    async def test_refused_callers(self) -> None:
        """How many callers were refused by their signature, and why."""
        _, browser = await self.opened()
        self.assertIn("2 with a wrong signature, 1 signed for another worker", await self.text(browser, "#facts"))

    async def test_problems(self) -> None:
        """What is wrong stands below the state, with a word for how bad it is."""
        server, browser = await self.opened()
        problems = [{"severity": "error", "text": "no key"}, {"severity": "warning", "text": "the queue is full"}]
        server.example.more = {"problems": problems}
        await browser.until("document.querySelectorAll('#problems li').length === 2")
        self.assertEqual(
            (await self.text(browser, "#problems")).split("\n"), ["Error no key", "Warning the queue is full"]
        )

    async def test_backends(self) -> None:
        """Several backends have a table: the state of each in a word, its cause as text, and its figures."""
        server, browser = await self.opened()
        self.assertTrue(await browser.run("document.getElementById('backends').hidden"))
        row = {"requests_in_flight": 7, "throughput": 1234.5, "connections_open": 9}
        server.example.more = {
            "backends": [
                {"url": "http://127.0.0.1:8000", "state": "ready", "state_reason": "", **row},
                {"url": NASTY, "state": "errored", "state_reason": NASTY, **row, "throughput": None},
            ],
            "affinity_found_total": 1200,
            "affinity_missing_total": 3,
        }
        await browser.until("!document.getElementById('backends').hidden")
        first, *_ = (await self.text(browser, "#backends-rows")).split("\n")
        self.assertEqual(first.split("\t")[:3], ["ready", "http://127.0.0.1:8000", "7"])
        self.assertEqual(await browser.run("document.querySelectorAll('#backends .s-errored').length"), 1)
        self.assertIn("1,200 requests with the value, 3 without", await self.text(browser, "#facts"))
        self.assertIsNone(await browser.run("window.hit || null"))
        await self.assert_good(browser)

    async def test_strangers_texts(self) -> None:
        """What strangers choose stays text, wherever it stands."""
        server, browser = await self.opened()
        example = server.example
        example.enter("errored", NASTY)
        example.more = {
            "problems": [{"severity": "error", "text": NASTY}],
            "backend_url": NASTY,
            "benchmark_model": NASTY,
            "report_troubles": [NASTY],
            "report_addresses": [NASTY],
        }
        shown = {"ended_at": example.clock.seconds(), "path": NASTY, "method": NASTY, "peer": NASTY, "outcome": NASTY}
        rest = {
            "status": 0,
            "code": NASTY,
            "origin": NASTY,
            "request_id": NASTY,
            "cost": 1.0,
            "attempts": 1,
            "upstream": NASTY,
        }
        example.end(ExampleRequest(FAILED, 0, 0.0, 0.0, {**shown, **rest, "bytes_in": 0, "bytes_out": 0}))
        await browser.until("document.getElementById('requests-rows').textContent.includes('onerror')")
        await browser.until("document.getElementById('hero').textContent.includes('<script>')")
        self.assertIn("<img src=x", await self.text(browser, "#facts"))
        self.assertIsNone(await browser.run("window.hit || null"))
        self.assertEqual(await browser.run("document.querySelectorAll('main img, main script').length"), 0)
        await self.assert_good(browser)

    async def test_failures_only(self) -> None:
        """Failures stay when others follow, with their code and who caused them."""
        _, browser = await self.opened()
        await browser.run("document.getElementById('only').click()")
        rows = await self.text(browser, "#requests-rows")
        self.assertNotIn("served", rows)
        self.assertIn("not_ready, by vespa", rows)
        self.assertIn("no response 2 ms", rows)
        self.assertEqual(await browser.run("document.getElementById('only').getAttribute('aria-pressed')"), "true")

    async def test_settings(self) -> None:
        """Settings can be filtered, and those that differ from the default are marked in words."""
        _, browser = await self.opened()
        await browser.run("document.getElementById('settings').open = true")
        await browser.run(
            "const f = document.getElementById('filter'); f.value = 'concurrency'; f.dispatchEvent(new Event('input'))"
        )
        rows = await self.text(browser, "#settings-rows")
        self.assertIn("VESPA_MAX_CONCURRENCY\t32 changed", rows)
        self.assertNotIn("MASTER_TOKEN", rows)
        await browser.run("f.value = ''; document.getElementById('changed').click()")
        rows = await self.text(browser, "#settings-rows")
        self.assertIn("MASTER_TOKEN\t(hidden) changed", rows)
        self.assertEqual(rows.count("\n") + 1, rows.count("changed"))


class LiveTests(PageCase):
    async def test_seconds(self) -> None:
        """Each second brings new figures, new requests, and one more point of the plots."""
        server, browser = await self.opened()
        await browser.run("window.before = document.getElementById('requests-rows').innerText")
        title = "document.querySelector('#since').textContent"
        since = await browser.run(title)
        asked = len([url for url in browser.requested() if url.endswith("/status.json")])
        self.assertEqual(asked, 1)
        await browser.until(f"{title} !== {since!r}")
        example = server.example
        example.more = {"requests_queued": 77}
        await browser.until("document.getElementById('figures').innerText.includes('77 queued')")
        await browser.until("document.getElementById('requests-rows').innerText !== window.before")
        self.assertEqual(len([url for url in browser.requested() if url.endswith("/status.json")]), 1, "read once")
        await self.assert_good(browser)

    async def test_connection_lost(self) -> None:
        """A lost connection is told with its time, the figures are greyed, and the page comes back by itself."""
        server, browser = await self.opened()
        port = int(await browser.run("location.port"))
        await server.close_port()
        await browser.until("document.body.classList.contains('lost')")
        self.assertRegex(await self.text(browser, "#notice"), r"Connection lost \d+ s ago, at \d\d:\d\d:\d\d")
        self.assertEqual(await self.text(browser, "#live"), "disconnected")
        greyed = "getComputedStyle(document.querySelector('#figures').parentElement).filter"
        self.assertEqual(await browser.run(greyed), "grayscale(1)")
        announced = await browser.run("document.getElementById('announce').textContent")
        self.assertIn("connection is lost", announced)
        server.example.enter("errored", "it is gone")
        await server.start(port)
        await browser.until(LIVE)
        self.assertEqual(await self.text(browser, "#word"), "Errored")
        self.assertFalse(await browser.run("document.body.classList.contains('lost')"))
        self.assertEqual(
            await self.text(browser, "#notice")
            if await browser.run("!document.getElementById('notice').hidden")
            else "",
            "",
        )

    async def test_another_process(self) -> None:
        """A page that outlives the process shows the history of the new one."""
        server, browser = await self.opened()
        port = int(await browser.run("location.port"))
        await server.stop()
        await browser.until("document.body.classList.contains('lost')")
        fresh = ExampleServer(Example("client"))
        self.addCleanup(fresh.stop)
        await fresh.start(port)
        await browser.until("document.querySelector('#kind').textContent.startsWith('client')")
        await browser.until("!document.getElementById('workers').hidden")

    async def test_token(self) -> None:
        """A port with a token asks for it once; after that the page is live."""
        server = ExampleServer(Example(seconds=10), "t0ken-of-the-port")
        self.addCleanup(server.stop)
        browser = await self.browser()
        await browser.open(await server.start())
        await browser.until("document.getElementById('token') !== null")
        await browser.run("document.getElementById('token').value = 't0ken-of-the-port'; document.forms[0].submit()")
        await browser.until(LIVE)
        self.assertEqual(await browser.run("location.search"), "")

    async def test_log_level(self) -> None:
        """The log's level is chosen on the page; what the process answers is shown."""
        server, browser = await self.opened()
        choose = "const l = document.getElementById('level'); l.value = '{}'; l.dispatchEvent(new Event('change'))"
        await browser.run("{" + choose.format("debug") + "}")
        await browser.until("document.getElementById('level-result').textContent === 'changed to debug'")
        self.assertEqual(server.example.level, "debug")
        await browser.run("{" + choose.format("critical") + "}")
        await browser.until("document.getElementById('level-result').textContent.includes('logs elsewhere')")
        await browser.until("document.getElementById('level').value === 'debug'")


class EverybodyTests(PageCase):
    async def test_contrast(self) -> None:
        """Each text has a contrast of 4.5 at least, in light and dark, in every state."""
        for kind in ("worker", "client"):
            server, browser = await self.opened(kind)
            server.example.more = {"problems": [{"severity": each, "text": each} for each in ("error", "warning")]}
            await browser.run("document.getElementById('settings').open = true")
            for state in ("ready", "suspect", "errored", "loading", "searching"):
                server.example.enter(state, "why")
                await browser.until(f"document.getElementById('announce').textContent.includes('is {state}')")
                for dark in (False, True):
                    await browser.look(dark=dark)
                    found = await browser.run(CONTRAST)
                    self.assertGreater(found["count"], 100)
                    self.assertGreaterEqual(found["worst"][0][0], 4.5, (kind, state, dark, found["worst"]))

    async def test_narrow(self) -> None:
        """On a phone of 360 pixels nothing is wider than the screen, however long a text is."""
        for kind in ("worker", "client"):
            server, browser = await self.opened(kind, width=360, height=740, touch=True)
            server.example.more = {
                "problems": [{"severity": "error", "text": LONG}],
                "endpoint": LONG,
                "backend_url": LONG,
                "report_addresses": [LONG],
                "benchmark_model": LONG,
                "workers": [{"url": LONG, "state": "busy", "trouble": LONG, "failed_at": 1.0}],
            }
            server.example.enter("errored", LONG)
            await browser.run("document.getElementById('settings').open = true")
            await browser.until("document.getElementById('reason').textContent.length > 200")
            self.assertEqual(await browser.run(WIDE), [], kind)
            self.assertLessEqual(await browser.run("document.documentElement.scrollWidth"), 360)

    async def test_keyboard(self) -> None:
        """All controls are reached by the Tab key, in the order in which they stand, with a visible focus."""
        _, browser = await self.opened()
        seen: list[str] = []
        for _ in range(17):
            await browser.press("Tab")
            seen.append(
                await browser.run(
                    "(() => { const e = document.activeElement, s = getComputedStyle(e);"
                    " return (e.id || e.className || e.tagName) + (s.outlineStyle === 'none' ? ' invisible' : ''); })()"
                )
            )
        self.assertEqual(seen[:3], ["skip", "level", "theme"])
        self.assertEqual([each for each in seen if each.startswith("plot")], ["plot"] * 6)
        after = [each for each in seen[3:] if not each.startswith("plot")]
        self.assertEqual(after, ["only", "hold", "more", "SUMMARY", "A", "A", "A", "A"])
        self.assertEqual([each for each in seen if "invisible" in each], [])

    async def test_skip_link(self) -> None:
        """The first Tab and Enter lead past the header."""
        _, browser = await self.opened()
        await browser.press("Tab")
        self.assertGreaterEqual(await browser.run("document.activeElement.getBoundingClientRect().top"), 0)
        await browser.press("Enter")
        await browser.until("document.activeElement.id === 'main'")

    async def test_crosshair_by_keyboard(self) -> None:
        """In a plot the arrow keys choose a second: all plots show their values of it, and a screen reader hears it."""
        _, browser = await self.opened()
        await browser.run("document.querySelectorAll('.plot')[3].focus()")
        now = await browser.run("document.activeElement.getAttribute('aria-valuetext')")
        self.assertIn("now: served ", now)
        await browser.press("ArrowLeft", shift=True)
        told = await browser.run("document.activeElement.getAttribute('aria-valuetext')")
        self.assertRegex(told, r"^\d\d:\d\d:\d\d: served .*/s, unserved .*failed ")
        self.assertLessEqual(int(await browser.run("document.activeElement.getAttribute('aria-valuenow')")), -9)
        self.assertEqual(await browser.run("document.querySelectorAll('.plot .hair').length"), 6)
        self.assertEqual(
            len(set(await browser.run("[...document.querySelectorAll('.at')].map((e) => e.textContent)"))), 1
        )
        await browser.press("Home")
        await browser.press("End")
        await browser.press("Escape")
        self.assertEqual(await browser.run("document.querySelectorAll('.plot .hair').length"), 0)

    async def test_crosshair_by_mouse_and_touch(self) -> None:
        """A mouse or a finger on a plot shows the values of that second."""
        _, browser = await self.opened()
        where = await browser.run(MIDDLE)
        await browser.call("Input.dispatchMouseEvent", {"type": "mouseMoved", **where})
        await browser.until("document.querySelectorAll('.plot .hair').length === 6")
        await browser.call("Input.dispatchMouseEvent", {"type": "mouseMoved", "x": 2, "y": 2})
        await browser.until("document.querySelectorAll('.plot .hair').length === 0")
        await browser.look(touch=True)
        await browser.call("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [where]})
        await browser.until("document.querySelectorAll('.plot .hair').length === 6")

    async def test_structure(self) -> None:
        """There are landmarks, one first heading, captions, names of all controls; no heading skips a level."""
        _, browser = await self.opened()
        for selector in ("header", "main", "footer"):
            self.assertEqual(await browser.run(f"document.querySelectorAll('body > {selector}').length"), 1)
        self.assertEqual(await browser.run("document.querySelectorAll('h1').length"), 1)
        self.assertEqual(await browser.run("document.documentElement.lang"), "en")
        self.assertEqual(await browser.run("document.querySelectorAll('table:not(:has(caption))').length"), 0)
        self.assertEqual(await browser.run("document.querySelectorAll('[aria-live]').length"), 1)
        tree = (await browser.call("Accessibility.getFullAXTree"))["nodes"]
        roles = ("button", "combobox", "slider", "searchbox", "checkbox", "link", "image", "table")
        nameless = [
            node["role"]["value"]
            for node in tree
            if not node.get("ignored") and node["role"]["value"] in roles and not node.get("name", {}).get("value")
        ]
        self.assertEqual(nameless, [])
        levels = await browser.run("[...document.querySelectorAll('h1, h2, h3')].map((e) => Number(e.tagName[1]))")
        self.assertTrue(all(after - before <= 1 for before, after in zip(levels, levels[1:], strict=False)), levels)

    async def test_theme(self) -> None:
        """The button chooses light or dark in the place of the system's choice, and the browser remembers it."""
        _, browser = await self.opened(dark=True)
        ground = "getComputedStyle(document.body).backgroundColor"
        dark = await browser.run(ground)
        await browser.run("document.getElementById('theme').click()")
        self.assertEqual(await self.text(browser, "#theme"), "Theme: light")
        self.assertNotEqual(await browser.run(ground), dark)
        await browser.call("Page.reload")
        await browser.until(LIVE)
        self.assertNotEqual(await browser.run(ground), dark)
        await browser.run("document.getElementById('theme').click()")
        self.assertEqual(await browser.run(ground), dark)

    async def test_no_motion(self) -> None:
        """Who wants no motion gets none."""
        _, browser = await self.opened()
        moving = "document.getAnimations().length"
        self.assertEqual(await browser.run(moving), 0)

    async def test_without_scripts(self) -> None:
        """Without JavaScript the page says what to do."""
        _, url = await self.serve()
        browser = await self.browser()
        await browser.call("Emulation.setScriptExecutionDisabled", {"value": True})
        await browser.open(url)
        await browser.until("document.querySelector('noscript') !== null")
        document = (await browser.call("DOM.getDocument", {"depth": 0}))["root"]["nodeId"]
        links = (await browser.call("DOM.querySelectorAll", {"nodeId": document, "selector": "noscript a"}))["nodeIds"]
        self.assertEqual(len(links), 3)
