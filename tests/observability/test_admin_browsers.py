"""The admin port and a real browser: the sign-in, and pages of other origins."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.web.resource import Resource
from twisted.web.server import Site

from tests.observability.browser import Browser, BrowserCase
from tests.observability.rig import LOOPBACK
from vespa.observability.admin import AdminListener, admin_listener
from vespa.observability.routes import Sources

TOKEN = "adm1n+t0ken/8462"
PAGE = b"""<!doctype html><title>Status</title><p id="p">no event</p><script>
new EventSource("events").addEventListener("status", event => {
  document.getElementById("p").textContent = JSON.parse(event.data).state})</script>"""


class _Foreign(Resource):
    """A page of another origin: its script is the test's."""

    isLeaf = True

    def render(self, request: Any) -> bytes:
        request.setHeader(b"Content-Type", b"text/html")
        return b"<!doctype html><title>Foreign</title>"


class AdminBrowserCase(BrowserCase):
    def serve(self, token: str = "") -> str:
        self.levels: list[str] = []
        sources = Sources(
            metrics=lambda accept: ("text/plain", b""),
            status=lambda: {"state": "ready"},
            event=lambda: {"state": "ready"},
            ready=lambda: (True, ""),
            page=PAGE,
            set_level=self.levels.append,
        )
        endpoint = LOOPBACK.replace("9464", "0")
        self.listener: AdminListener = admin_listener(reactor, endpoint, token, sources, default="", setting="")
        self.listener.startService()
        self.addCleanup(self.listener.stopService)
        return self.listener.address

    async def foreign(self) -> str:
        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(Site(_Foreign()))
        self.addCleanup(port.stopListening)
        host: Any = port.getHost()
        return f"http://localhost:{host.port}"

    async def sign_in(self, browser: Browser, token: str) -> None:
        await browser.until("document.forms.length == 1")
        await browser.run(f"document.getElementById('token').value = {token!r}; document.forms[0].submit()")


class SignInTests(AdminBrowserCase):
    async def test_form(self) -> None:
        """A browser without the token gets a form for it, and with it the page, live, whose URL has no token."""
        url = self.serve(TOKEN)
        browser = await self.browser()
        await browser.open(f"{url}/")
        await self.sign_in(browser, "wrong")
        await browser.until("location.search == '?token=wrong' && document.forms.length == 1")
        await self.sign_in(browser, TOKEN)
        await browser.until("document.title == 'Status'")
        await browser.until("document.getElementById('p').textContent == 'ready'")
        self.assertEqual(await browser.run("location.href"), f"{url}/")
        self.assertEqual(await browser.run("document.cookie"), "")
        self.assertEqual(await browser.run("fetch('status.json').then(response => response.status)"), 200)
        post = "fetch('log-level', {method: 'POST', body: 'debug'}).then(response => response.status)"
        self.assertEqual((await browser.run(post), self.levels), (200, ["debug"]))
        await browser.open(f"{url}/")
        await browser.until("document.title == 'Status'")

    async def test_url(self) -> None:
        """The token may be in the URL, once."""
        url = self.serve(TOKEN)
        browser = await self.browser()
        await browser.open(f"{url}/?token={TOKEN.replace('+', '%2B')}")
        await browser.until("document.title == 'Status'")
        self.assertEqual(await browser.run("location.href"), f"{url}/")


class ForeignPageTests(AdminBrowserCase):
    async def test_no_token(self) -> None:
        """A page of another origin reads nothing, sets nothing, and frames nothing, though the port has no token."""
        url = self.serve()
        browser = await self.browser()
        await browser.open(await self.foreign())
        await browser.until("document.title == 'Foreign'")
        for mode in ("cors", "no-cors"):
            for path in ("status.json", "events", "metrics"):
                got = f"fetch('{url}/{path}', {{mode: '{mode}'}}).then(r => r.text(), () => '')"
                self.assertEqual(await browser.run(got), "", path)
            options = f"{{method: 'POST', mode: '{mode}', body: 'debug'}}"
            post = f"fetch('{url}/log-level', {options}).then(() => 1, () => 0)"
            await browser.run(post)
        self.assertEqual(self.levels, [])
        self.assertEqual(len(self.listener.server.application.streams), 0)  # type: ignore[attr-defined]

    async def test_form(self) -> None:
        """A form of another origin changes nothing."""
        url = self.serve()
        browser = await self.browser()
        await browser.open(await self.foreign())
        await browser.until("document.title == 'Foreign'")
        await browser.run(
            f"document.body.innerHTML = '<form method=post action={url}/log-level enctype=text/plain>"
            "<input name=debug></form>'; document.forms[0].submit()"
        )
        await browser.until("document.body.innerText.includes('foreign_origin')")
        self.assertEqual(self.levels, [])

    async def test_rebinding(self) -> None:
        """A name of another's that leads to this machine reads nothing, not even as a whole page."""
        port = self.serve().rpartition(":")[2]
        browser = await self.browser()
        await browser.open(f"http://evil.localhost:{port}/status.json")  # browsers take *.localhost for this machine
        await browser.until("document.body.innerText.includes('foreign_host')")

    async def test_link(self) -> None:
        """A link of another page leads to the status page."""
        url = self.serve()
        browser = await self.browser()
        await browser.open(await self.foreign())
        await browser.until("document.title == 'Foreign'")
        await browser.run(f"document.body.innerHTML = '<a href={url}/>status</a>'; document.links[0].click()")
        await browser.until("document.title == 'Status'")
        await browser.until("document.getElementById('p').textContent == 'ready'")
