"""A real browser in tests: headless Chromium opens a page, and the page's script tells a collector what it saw.

The collector's address goes to the page in the URL's fragment, which no server ever sees. The page posts its results
there as one JSON object, without waiting for leave to read the response (`mode: "no-cors"`).
"""

from __future__ import annotations

import json
import os
from shutil import which
from typing import Any

from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.trial.unittest import SkipTest
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import Site

from tests.e2e.callers import CallerCase
from tests.processes import until
from vespa.simulator.child import Child

PAGE_SECONDS = 40.0
INSTALL = "apt-get install chromium"
# Without these Chromium looks up its maker's servers and waits for them.
QUIET = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
    "--no-proxy-server",
)


def chromium() -> str:
    """The browser's path. Raises SkipTest, naming the command that installs it."""
    path = which("chromium") or which("chromium-browser") or which("google-chrome")
    if path is None:
        raise SkipTest(f"missing: chromium ({INSTALL})")
    return path


class _Page(Resource):
    """Serves one document at every path, and keeps what is posted."""

    isLeaf = True

    def __init__(self, document: str) -> None:
        super().__init__()
        self.document = document
        self.results: list[dict[str, Any]] = []

    def render(self, request: Request) -> bytes:
        if request.method == b"POST":
            assert request.content is not None
            self.results.append(json.loads(request.content.read()))
            return b""
        request.setHeader(b"content-type", b"text/html; charset=utf-8")
        return self.document.encode("utf-8")


class ChromiumCase(CallerCase):
    """A test that has pages visited by Chromium."""

    async def serve_page(self, document: str = "") -> tuple[str, _Page]:
        """Serve a document of the test's own on a free port of loopback: its URL, and the page."""
        page = _Page(document)
        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(Site(page))
        self.addCleanup(port.stopListening)
        return f"http://127.0.0.1:{port.getHost().port}/", page

    def open_browser(self, url: str) -> Child:
        """Start Chromium with a profile of its own at a URL."""
        # Chromium refuses its sandbox to root, who runs tests in containers.
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        command = [
            chromium(),
            "--headless",
            *sandbox,
            *QUIET,
            "--enable-logging=stderr",
            f"--user-data-dir={self.temporary_folder()}",
            url,
        ]
        return self.start(command, {"HOME": self.temporary_folder()})

    async def open_page(self, url: str) -> dict[str, Any]:
        """Have Chromium open a page, and return what its script told. Raises NotInTime with the browser's log."""
        collector, page = await self.serve_page()
        browser = self.open_browser(f"{url}#{collector}")
        try:
            await until(lambda: page.results, PAGE_SECONDS, f"a result of {url}")
        except AssertionError as error:
            said = "\n".join(line for line in browser.lines if "dbus" not in line)
            raise AssertionError(f"{error}; the browser said:\n{said}") from None
        await self.end(browser)
        return page.results[0]
