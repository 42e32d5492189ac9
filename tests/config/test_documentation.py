"""docs/settings.md agrees with the tables of settings."""

from __future__ import annotations

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from vespa.config.commands import BENCHMARK, CHECK, CLIENT, DEMO, LOAD, MIGRATE, TOP, WORKER
from vespa.config.documentation import PAGE, markdown


class DocumentationTests(SynchronousTestCase):
    def test_page(self) -> None:
        """The page is current. `python -m vespa.config.documentation` writes it."""
        if not PAGE.exists():
            raise SkipTest("the documentation is not here")
        self.assertEqual(PAGE.read_text("utf-8"), markdown())

    def test_readme(self) -> None:
        """The README's rows of settings are the same as the page's."""
        readme = PAGE.parents[1] / "README.md"
        if not readme.exists():
            raise SkipTest("the README is not here")
        shown = [line for line in readme.read_text("utf-8").splitlines() if line.startswith("| `VESPA_")]
        self.assertEqual(len(shown), 10)
        self.assertEqual([line for line in shown if line not in markdown().splitlines()], [])

    def test_every_row(self) -> None:
        """Each row of each command has its line, with its default, its unit and its meaning."""
        parts = markdown().split("\n## ")
        for line, part in zip((WORKER, CLIENT, LOAD, CHECK, BENCHMARK, TOP, MIGRATE, DEMO), parts[1:], strict=True):
            self.assertTrue(part.startswith(f"`{line.command}`\n"))
            lines = part.splitlines()
            for row in line.rows:
                if row.flag or row.name:
                    (found,) = [each for each in lines if f"`--{row.flag}` |" in each or f"| `{row.name}`" in each]
                    for text in (row.name, row.fallback, row.default or "", row.unit, row.help):
                        self.assertIn(text, found)
