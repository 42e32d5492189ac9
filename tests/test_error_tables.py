"""The tables of errors in README.md and CLIENT.md, and the codes that the code answers with."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parent.parent
REFUSAL = re.compile(r'(?:Refusal|_final)\(\s*(\d{3}),\s*"(\w+)"')
# What one row tells of all that is no proper HTTP, by status alone.
TOGETHER = frozenset({"400", "405", "408", "413", "417", "431", "501", "505"})


def missing(document: str, *packages: str) -> list[str]:
    """The codes of these packages that the document's table has not."""
    text = (ROOT / document).read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if re.match(r"\| \d{3}", line)]
    found = {
        pair
        for package in packages
        for path in sorted((ROOT / "vespa" / package).rglob("*.py"))
        for pair in REFUSAL.findall(path.read_text(encoding="utf-8"))
    }
    assert found
    return sorted(
        code
        for status, code in found
        if status not in TOGETHER and not any(f"`{code}`" in row and status in row.split("|")[1] for row in rows)
    )


class ErrorTableTests(SynchronousTestCase):
    def test_worker(self) -> None:
        """Every code that a worker refuses with is in README.md, beside its status."""
        below = ("proxy", "http", "transport", "protocol", "vast", "accounting")
        self.assertEqual(missing("README.md", "worker", *below), ["token_required"])  # the client's

    def test_client(self) -> None:
        """Every code that the client refuses with is in CLIENT.md, beside its status."""
        self.assertEqual(missing("CLIENT.md", "client", "proxy", "http", "transport", "protocol"), [])
