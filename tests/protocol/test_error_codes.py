"""The error codes, and the page that describes them."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from vespa.protocol.error_codes import ADMIN_CODES, CLIENT_CODES, WORKER_CODES, statuses
from vespa.protocol.refusal import Refusal

PAGE = Path(__file__).parents[2] / "docs" / "errors.md"


def table(heading: str) -> dict[str, set[int]]:
    """The codes of the table under a heading, each with its statuses; a row may have several of both."""
    section = PAGE.read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    found: dict[str, set[int]] = {}
    for row in section.splitlines():
        if row.startswith("| ") and row[2].isdigit():
            numbers, codes = row.split("|")[1:3]
            for code in codes.replace("`", "").split(","):
                if code.strip():
                    found.setdefault(code.strip(), set()).update(int(each) for each in numbers.split(","))
    return found


class ErrorCodeTests(SynchronousTestCase):
    def test_worker(self) -> None:
        """The page has a row for every code of the worker's under its statuses, and for no other code."""
        self.assertEqual(table("The worker's errors"), {code: set(each) for code, each in WORKER_CODES.items()})

    def test_client(self) -> None:
        """The page has a row for every code of the client's under its statuses, and for no other code."""
        self.assertEqual(table("The client's errors"), {code: set(each) for code, each in CLIENT_CODES.items()})

    def test_admin_port(self) -> None:
        """The page has a row for every code of the admin port's under its statuses, and for no other code."""
        self.assertEqual(table("The admin port's errors"), {code: set(each) for code, each in ADMIN_CODES.items()})

    def test_refusals(self) -> None:
        """Every refusal in the code has a listed code with one of its statuses."""
        self.assertEqual(Refusal(401, "bad_signature", "no").status, 401)
        for status, code in ((401, "no_such_code"), (403, "bad_signature"), (501, "internal_error")):
            with self.assertRaisesRegex(ValueError, code):
                Refusal(status, code, "no")

    def test_statuses(self) -> None:
        """The list has all statuses of a code, and none of a code that is not listed."""
        self.assertEqual(set(statuses("official_dialect")), {405, 415, 422, 426})
        self.assertEqual(set(statuses("unknown_coding")), {501, 502})
        self.assertEqual(statuses("no_such_code"), ())
