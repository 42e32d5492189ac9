"""The status page as a newcomer meets it: beside the demonstration, whose backend is killed and comes back."""

from __future__ import annotations

import os
import re
import signal
import sys

from tests.observability.browser import BrowserCase
from tests.observability.test_page import LIVE

WORD = "document.getElementById('word').textContent"


class NewcomerTests(BrowserCase):
    timeout = 180

    async def test_killed_backend(self) -> None:
        """On one open page the worker is ready, then errored with the reason, and ready again when the backend is."""
        command = [sys.executable, "-m", "vespa.simulator.demo", "--rate", "500", "--client-port", "0"]
        demo = self.start(command, folder=self.temporary_folder())
        await self.until_line(demo, "Running until Ctrl-C")
        shown = demo.text.partition("Watch it")[2]
        pages = dict(re.findall(r"^ +(worker|client) +(http://\S+)", shown, re.MULTILINE))
        (pid,) = re.findall(r"^ +kill (\d+)$", shown, re.MULTILINE)
        browser = await self.browser()
        await browser.look()
        await browser.open(pages["worker"])
        await browser.until(LIVE)
        self.assertEqual(await browser.run(WORD), "Ready")
        requests = await browser.run("document.getElementById('requests-rows').innerText")
        self.assertIn("POST /v1/chat/completions", requests)
        self.assertIn("bad_signature", requests)

        os.kill(int(pid), signal.SIGKILL)
        await browser.until(f"{WORD} === 'Errored'")
        self.assertIn(
            "no server listens at 127.0.0.1:", await browser.run("document.getElementById('reason').innerText")
        )
        self.assertIn("since", await browser.run("document.getElementById('since').innerText"))
        self.assertIn("errored", await browser.run("document.getElementById('announce').textContent"))
        await browser.until("document.querySelectorAll('#strip .s-errored').length === 1")

        await browser.until(f"{WORD} === 'Ready'", 40.0)
        rows = await browser.run("[...document.querySelectorAll('#states-rows tr')].map((row) => row.innerText)")
        self.assertEqual([re.split(r"\s+", row)[1] for row in rows[:4]], ["Ready", "Errored", "Suspect", "Ready"])
        self.assertIn("no server listens", rows[1])
        self.assertEqual(len([url for url in browser.requested() if url.endswith("/status.json")]), 1)
        self.assertEqual(browser.complaints(), [])

        await browser.open(pages["client"])
        await browser.until(
            f"({LIVE}) && document.getElementById('workers-rows').innerText.includes('http://127.0.0.1:')"
        )
        self.assertIn("Vespa client of demo", await browser.run("document.querySelector('.brand').innerText"))
        self.assertIn("runs again at", demo.text)
        demo.signal("INT")
        self.assertEqual(await self.until_exit(demo), 0, demo.text)
