"""The pages about the code agree with the code."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests import drawings

ROOT = Path(__file__).parent.parent
PAGES = ("architecture.md", "data-path.md")

_NAME = re.compile(r"(?<![\w/])vespa/[\w/*.-]*[\w/*]|`([a-z_]+/[\w/]+(?:\.py)?)`")


def packages() -> set[str]:
    """The folders right below `vespa`."""
    return {path.parent.name for path in (ROOT / "vespa").glob("*/__init__.py")}


def named_files(page: str) -> set[str]:
    """What a page names as files: `vespa/…` anywhere, and in backticks `PACKAGE/MODULE`, with or without its ending."""
    names = set()
    for match in _NAME.finditer(page):
        name = match[0].strip("`")
        if name.startswith("vespa/"):
            names.add(name)
        elif name.split("/")[0] in packages():
            names.add("vespa/" + name)
    return names


def exists(name: str) -> bool:
    """Whether there is such a file or folder, or such a module, or one that a pattern fits."""
    if "*" in name:
        return any(ROOT.glob(name))
    return (ROOT / name).exists() or (ROOT / (name + ".py")).exists()


class PageTests(SynchronousTestCase):
    def page(self, name: str) -> str:
        path = ROOT / "docs" / name
        if not path.exists():
            raise SkipTest("the documentation is not here")
        return path.read_text("utf-8")

    def test_drawings(self) -> None:
        """The drawings of the states are those of the tables in the code; `python -m tests.drawings` draws them."""
        self.assertEqual(drawings.found(self.page("architecture.md")), drawings.drawings())

    def test_files(self) -> None:
        """Every file of the code that the pages name is there."""
        for page in PAGES:
            names = named_files(self.page(page))
            self.assertEqual([name for name in sorted(names) if not exists(name)], [], page)
            self.assertGreater(len(names), 1, page)

    def test_layout(self) -> None:
        """Every package is in the page's layout."""
        page = self.page("architecture.md")
        self.assertEqual([name for name in sorted(packages()) if f"| `vespa/{name}/`" not in page], [])


class CheckTests(SynchronousTestCase):
    """What compares the pages with the code does see."""

    def test_names(self) -> None:
        """Names are found in text and in backticks, in full and from their package on; other paths are not ours."""
        text = "vespa/a/b.py, (`vespa/c/`) and `http/agent`, `proxy/x.py`; http/server, `docs/http.md`, my/vespa/d.py"
        self.assertEqual(named_files(text), {"vespa/a/b.py", "vespa/c/", "vespa/http/agent", "vespa/proxy/x.py"})

    def test_exists(self) -> None:
        """A module is there with and without its ending, a folder as it is, a pattern where something fits it."""
        for name in ("vespa/cli.py", "vespa/http/", "vespa/http/agent", "vespa/http/agent.py", "vespa/config/work*.py"):
            self.assertTrue(exists(name), name)
        for name in ("vespa/http/nothing.py", "vespa/http/nothing", "vespa/nothing*.py"):
            self.assertFalse(exists(name), name)

    def test_redrawn(self) -> None:
        """A drawing that is no more true is found, and drawn anew; what stands around it stays."""
        old = "a\n<!-- drawing: lifecycle -->\n```mermaid\nold\n```\n<!-- end of drawing -->\nb\n"
        self.assertNotEqual(drawings.found(old)["lifecycle"], drawings.drawings()["lifecycle"])
        new = drawings.redrawn(old)
        self.assertEqual(drawings.found(new), {"lifecycle": drawings.drawings()["lifecycle"]})
        self.assertTrue(new.startswith("a\n<!-- drawing") and new.endswith("drawing -->\nb\n"))
