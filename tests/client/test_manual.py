"""The manual says what the code says."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parent.parent.parent
REFUSAL = re.compile(r'Refusal\(\s*(\d+),\s*"(\w+)"')


class ManualTests(SynchronousTestCase):
    def test_errors(self) -> None:
        """Every refusal of the client's has its row in CLIENT.md, under its status."""
        rows = re.findall(r"^\| ([\d, ]+) \| (.*?) \|", (ROOT / "CLIENT.md").read_text(), re.MULTILINE)
        told = {
            (int(status), code)
            for statuses, codes in rows
            for status in statuses.split(", ")
            for code in codes.split("`")
        }
        for path in sorted((ROOT / "vespa" / "client").glob("*.py")):
            for status, code in REFUSAL.findall(path.read_text()):
                self.assertIn((int(status), code), told, path.name)

    def test_links(self) -> None:
        """Every file that the manuals point to is there."""
        for name in ("README.md", "CLIENT.md", "docs/security.md", "examples/README.md"):
            page = ROOT / name
            for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
                self.assertTrue((page.parent / target).exists(), f"{name}: {target}")
