"""The stand-in for ComfyUI refuses what ComfyUI refuses, and the worker's and the client's rewriting suits it."""

from __future__ import annotations

import json
import threading
from http.client import HTTPConnection

from twisted.trial.unittest import SynchronousTestCase

from .comfyui_stand_in import is_foreign, serve


class Rule(SynchronousTestCase):
    def test_rule(self) -> None:
        """403 where a loopback Host and the Origin differ, or the site is another."""
        for host, origin, site, foreign in (
            ("127.0.0.1:8188", "http://127.0.0.1:8188", None, False),
            ("127.0.0.1:8188", "http://localhost:8010", "same-origin", True),
            ("127.0.0.1:8188", "http://127.0.0.1:8010", None, True),
            ("127.0.0.1:8188", "https://127.0.0.1", None, False),
            ("localhost", "http://localhost:8010", None, False),
            ("127.0.0.1:8188", "null", None, False),
            ("127.0.0.1:8188", None, "cross-site", True),
            ("192.0.2.1:8188", "http://evil.example", None, False),
            (None, "http://evil.example", None, False),
        ):
            self.assertEqual(is_foreign(host, origin, site), foreign, (host, origin, site))

    def test_served(self) -> None:
        """The page, its script and its prompt are served to its own origin, and nothing to another."""
        server = serve()
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        own = f"http://127.0.0.1:{server.server_address[1]}"

        def ask(method: str, path: str, origin: str) -> tuple[int, bytes]:
            connection = HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
            connection.request(method, path, b"{}" if method == "POST" else None, {"Origin": origin})
            response = connection.getresponse()
            body = response.read()
            connection.close()
            return response.status, body

        for method, path in (("GET", "/"), ("GET", "/app.js"), ("POST", "/prompt")):
            self.assertEqual(ask(method, path, own)[0], 200)
            self.assertEqual(ask(method, path, "http://localhost:8010"), (403, b""))
        log = json.loads(ask("GET", "/log", own)[1])
        self.assertEqual([entry["status"] for entry in log], [200, 403] * 3)
