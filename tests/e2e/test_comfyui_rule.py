"""The stand-in for ComfyUI refuses what ComfyUI refuses."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.comfyui import is_foreign


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
