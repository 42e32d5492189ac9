"""docs/security.md agrees with the code's limits and regular expressions."""

from __future__ import annotations

import importlib
import pkgutil
import re
from pathlib import Path
from unittest import TestCase

import vespa
from vespa.config.schema import rows as settings_rows
from vespa.config.worker import WorkerSettings

TEXT = (Path(__file__).parent.parent / "docs" / "security.md").read_text()
PACKAGES = frozenset(
    ("accounting", "client", "http", "observability", "protocol", "proxy", "runtime", "transport", "vast", "worker")
)

OPTIONAL = frozenset(("opentelemetry", "requests"))
"""Packages of extras, which need not be installed."""

# Over what an operator writes, or a page of Vespa's own, and nobody else.
LOCAL = frozenset((("vast/credentials.py", "_KEY"), ("observability/content_security.py", "_INLINE")))


def rows(heading: str) -> list[list[str]]:
    """The cells of the table under a heading, without its head."""
    section = TEXT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def patterns() -> set[tuple[str, str]]:
    """Each module's compiled patterns, and methods of such, by file and name; those that are imported count once."""
    found = {}
    for info in pkgutil.walk_packages(vespa.__path__, "vespa."):
        if info.name.split(".")[1] not in PACKAGES:
            continue
        try:
            module = importlib.import_module(info.name)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in OPTIONAL:
                raise
            continue
        file = "/".join(info.name.split(".")[1:]) + ".py"
        for name, value in vars(module).items():
            pattern = value if isinstance(value, re.Pattern) else getattr(value, "__self__", None)
            if isinstance(pattern, re.Pattern):
                found[file, name] = pattern
    return set(found)


class Bounds(TestCase):
    def test_tests(self) -> None:
        """Each bound names a test, and the test is there."""
        self.assertTrue(len(rows("Bounds")) > 30)
        for what, *_, test in rows("Bounds"):
            with self.subTest(what):
                module, case, method = test.strip("`").rsplit(".", 2)
                self.assertTrue(callable(getattr(getattr(importlib.import_module(module), case), method)))

    def test_named_tests(self) -> None:
        """Each test that a sentence names is there, too."""
        named = re.findall(r"`(tests(?:\.\w+)+\.[A-Z]\w*\.test_\w+)`", TEXT)
        self.assertGreater(len(named), len(rows("Bounds")))
        for test in named:
            with self.subTest(test):
                module, case, method = test.rsplit(".", 2)
                self.assertTrue(callable(getattr(getattr(importlib.import_module(module), case), method)))

    def test_settings(self) -> None:
        """Each setting is one, and its default is the bound."""
        defaults = {row.name: row.default or "" for row in settings_rows(WorkerSettings)}
        for what, bound, setting, _ in rows("Bounds"):
            if setting:
                with self.subTest(what):
                    self.assertIn(defaults[setting.strip("`")], re.findall(r"[0-9]+", bound))

    def test_every_limit(self) -> None:
        """Each setting that is a limit on clients, as a number, is among them."""
        named = {setting.strip("`") for _, _, setting, _ in rows("Bounds")}
        limits = {
            row.name
            for row in settings_rows(WorkerSettings)
            if row.section == "Limits on clients" and (row.default or "").isdigit()
        }
        self.assertEqual(limits - named, set())


class Expressions(TestCase):
    def test_listed(self) -> None:
        """Each regular expression over remote bytes is in the list, with why it is linear, and no other is."""
        listed = set()
        for where, _, why in rows("Regular expressions over remote bytes"):
            file = ""
            for name in re.findall(r"`([^`]+)`", where):
                if name.endswith(".py"):
                    file = name
                else:
                    listed.add((file, name))
            self.assertTrue(why)
        self.assertEqual(listed, patterns() - LOCAL)
