"""Pages in a real browser: a web application behind client and worker, and pages of other origins that try it."""

from __future__ import annotations

import os
from typing import Any

from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ServerEndpoint

from tests.e2e.chromium import ChromiumCase, chromium
from tests.e2e.comfyui import HEALTH, ComfyUI
from tests.simulator_support.deployment import ControlledDeployment
from vespa.simulator.child import ClientChild
from vespa.simulator.launch import free_port
from vespa.simulator.serving import serve

FOREIGN = """<!doctype html><script type="module">
const target = "%s", result = {};
async function attempt(name, work) {
  try { result[name] = await work(); } catch (error) { result[name] = "nothing"; }
}
await attempt("read", async () => (await fetch(target + "/", {credentials: "include"})).status);
await attempt("post", async () => (await fetch(target + "/prompt", {method: "POST", body: "{}"})).status);
await attempt("blind", async () => {
  const headers = {"Content-Type": "text/plain"};
  await fetch(target + "/prompt", {method: "POST", mode: "no-cors", headers, body: "{}"});
  return "sent";
});
await attempt("module", async () => Object.keys(await import(target + "/main.js")));
await attempt("socket", () => new Promise((done, failed) => {
  const socket = new WebSocket(target.replace("http", "ws") + "/ws");
  socket.onopen = () => done("open");
  socket.onerror = () => failed("no");
}));
await fetch(location.hash.slice(1), {method: "POST", mode: "no-cors", body: JSON.stringify(result)});
</script>"""

CALLER = """<!doctype html><script type="module">
const target = "%s", result = {};
async function attempt(name, work) {
  try { result[name] = (await work()).status; } catch (error) { result[name] = "nothing"; }
}
await attempt("models", () => fetch(target + "/v1/models"));
const body = JSON.stringify({model: "any", max_tokens: 3, messages: [{role: "user", content: "hello"}]});
const headers = {"Content-Type": "application/json", "Authorization": "Bearer unused"};
await attempt("chat", () => fetch(target + "/v1/chat/completions", {method: "POST", headers, body}));
await fetch(location.hash.slice(1), {method: "POST", mode: "no-cors", body: JSON.stringify(result)});
</script>"""

WORKS = {"module": True, "prompt": [200, {"prompt_id": "1", "number": 1}], "socket": "hello"}


class WebApplicationTests(ChromiumCase):
    timeout = 180

    def setUp(self) -> None:
        chromium()

    async def serve_comfyui(self) -> tuple[ComfyUI, str]:
        app = ComfyUI()
        served = await serve(app.resource(), TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1"), app.upgrades)
        self.addCleanup(served.stop)
        return app, served.url

    async def start_before(self, url: str, **options: Any) -> tuple[ControlledDeployment, ClientChild]:
        """A client and a signed worker before an application that no benchmark knows."""
        path = os.path.join(self.temporary_folder(), "constant.py")
        with open(path, "w") as file:
            file.write("async def benchmark(backend_url, session):\n    return 100.0\n")
        settings = {"VESPA_BENCHMARK": f"{path}:benchmark", "VESPA_HEALTHCHECK_ENDPOINT": HEALTH}
        return await self.start_chain(backend_url=url, settings=settings, **options)

    async def open_foreign(self, app: ComfyUI, url: str) -> None:
        """A page of another origin reads nothing, and the application hears nothing of it."""
        heard = len(app.heard)
        page, _ = await self.serve_page(FOREIGN % url)
        result = await self.open_page(page)
        # A page is never told whether what it sent blindly was refused: the application tells.
        self.assertEqual(
            result, {"read": "nothing", "post": "nothing", "blind": "sent", "module": "nothing", "socket": "nothing"}
        )
        self.assertEqual(app.heard[heard:], [], "what came from a foreign page")

    async def test_alone(self) -> None:
        """The page works where nothing stands before it: else the other tests would say nothing."""
        _, url = await self.serve_comfyui()
        result = await self.open_page(url + "/")
        self.assertEqual(result, {**WORKS, "before": 401, "login": 200, "after": 200})

    async def test_through_client_and_worker(self) -> None:
        """The page works through client and signed worker, but for its login: cookies stay where they are."""
        app, url = await self.serve_comfyui()
        deployment, client = await self.start_before(url)
        result = await self.open_page(client.url + "/")
        self.assertEqual(result, {**WORKS, "before": 401, "login": 200, "after": 401}, client.text)
        self.assertNotIn(403, {status for _, _, status in app.heard})
        self.assertIn(client.url.removeprefix("http://"), app.hosts, "Gradio builds its address from it")
        await self.open_foreign(app, client.url)
        await self.balanced(deployment)
        self.assert_clean(deployment)

    async def test_allowed_origin(self) -> None:
        """A page of an origin that `--allow-origin` names calls the endpoint; the same page elsewhere gets nothing."""
        page, document = await self.serve_page()
        other, other_document = await self.serve_page()
        deployment, client = await self.start_chain(allow_origin=[page.rstrip("/")])
        document.document = other_document.document = CALLER % client.url
        self.assertEqual(await self.open_page(page), {"models": 200, "chat": 200}, client.text)
        asked = len(deployment.autoscaler.routes)
        self.assertEqual(await self.open_page(other), {"models": "nothing", "chat": "nothing"}, client.text)
        self.assertEqual(len(deployment.autoscaler.routes), asked, "what the other page sent cost nothing")
        await self.balanced(deployment)
        self.assert_clean(deployment)

    async def test_login(self) -> None:
        """With `--pass cookie` a login in the page holds."""
        _, url = await self.serve_comfyui()
        deployment, client = await self.start_before(url, **{"pass": ["cookie"]})
        result = await self.open_page(client.url + "/")
        self.assertEqual(result, {**WORKS, "before": 401, "login": 200, "after": 200}, client.text)
        self.assert_clean(deployment)

    async def test_unsecured_worker(self) -> None:
        """The page works through an unsecured worker, its login too."""
        app, url = await self.serve_comfyui()
        port = free_port()
        worker = self.twistd(
            {
                "VESPA_BACKEND_URL": url,
                "VESPA_WORKER_PORT": str(port),
                "VESPA_UNSECURED": "true",
                "VESPA_HEALTHCHECK_ENDPOINT": HEALTH,
            }
        )
        await self.until_line(worker, "ready")
        for host in ("localhost", "127.0.0.1"):
            result = await self.open_page(f"http://{host}:{port}/")
            self.assertEqual(result, {**WORKS, "before": 401, "login": 200, "after": 200}, worker.text)
        await self.open_foreign(app, f"http://localhost:{port}")
        self.assert_clean_log(worker)
