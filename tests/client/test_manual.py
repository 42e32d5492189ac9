"""The manual says what the code says."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parent.parent.parent


class ManualTests(SynchronousTestCase):
    def test_links(self) -> None:
        """Every file that the manuals point to is there."""
        for name in ("README.md", "CLIENT.md", "docs/errors.md", "docs/security.md", "examples/README.md"):
            page = ROOT / name
            for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
                self.assertTrue((page.parent / target).exists(), f"{name}: {target}")
