"""Laws of the pages in Markdown: their links lead somewhere, on GitHub and on the site that is made from them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token
from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parent.parent
FOLDERS = (".", ".github", "deploy/vast", "docs", "examples", "perf")
UNLISTED = {"docs/index.md", "README.md", ".github/PULL_REQUEST_TEMPLATE.md"}
"""Pages that the list of pages, docs/index.md, need not name: README is named by another word, as the beginning."""


class Page:
    """What a page links to, and which of its places others can link to."""

    def __init__(self, text: str) -> None:
        self.links: list[str] = []
        self.anchors: set[str] = set()
        tokens = MarkdownIt("commonmark").enable("table").parse(text)
        for before, token in zip([None, *tokens], tokens, strict=False):
            if before is not None and before.type == "heading_open":
                self._add_heading(token)
            for inner in token.children or [token]:
                self._add(inner)

    def _add(self, token: Token) -> None:
        if token.type in ("html_inline", "html_block"):
            html = _HTML()
            html.feed(token.content)
            self.links += html.links
            self.anchors |= html.anchors
        elif target := token.attrs.get("href" if token.type == "link_open" else "src"):
            self.links.append(str(target))

    def _add_heading(self, inline: Token) -> None:
        text = "".join(child.content for child in inline.children or [])
        name = anchor(text)
        # GitHub numbers the later ones of the same words.
        numbered = (f"{name}-{count}" if count else name for count in range(len(self.anchors) + 1))
        self.anchors.add(next(each for each in numbered if each not in self.anchors))


class _HTML(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value and name in ("href", "src"):
                self.links.append(value)
            elif value and name in ("id", "name"):
                self.anchors.add(value)


def anchor(heading: str) -> str:
    """The anchor that GitHub and MyST give to a heading: words in lower case, blanks as hyphens, no other signs."""
    kept = "".join(c for c in heading.strip().lower() if c.isalnum() or c in " -_")
    return kept.replace(" ", "-")


def pages(root: Path) -> dict[str, Page]:
    """The project's pages by their paths below the root."""
    files = [file for folder in FOLDERS for file in sorted((root / folder).glob("*.md"))]
    return {file.relative_to(root).as_posix(): Page(file.read_text("utf-8")) for file in files}


def broken(root: Path, found: dict[str, Page]) -> Iterator[str]:
    """Each link within the project that leads nowhere, with its page."""
    for name, page in found.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = os.path.normpath(os.path.join(os.path.dirname(name), unquote(parts.path))) if parts.path else name
            if not (root / target).is_file():
                yield f"{name}: {link} is no file"
            elif parts.fragment and target in found and parts.fragment not in found[target].anchors:
                yield f"{name}: {link} is no heading of {target}"


class LinkTests(SynchronousTestCase):
    def test_all(self) -> None:
        """Every link from a page to a file, and to a heading in one, leads there."""
        self.assertEqual(list(broken(ROOT, pages(ROOT))), [])

    def test_list_of_pages(self) -> None:
        """docs/index.md, from which the site has its navigation, names every page."""
        found = pages(ROOT)
        listed = {os.path.normpath(os.path.join("docs", urlsplit(link).path)) for link in found["docs/index.md"].links}
        self.assertEqual(sorted(set(found) - listed - UNLISTED), [])
        self.assertIn("README.md", listed)


class CheckTests(SynchronousTestCase):
    """The check itself."""

    def check(self, **texts: str) -> list[str]:
        root = Path(self.mktemp())
        (root / "docs").mkdir(parents=True)
        for name, text in texts.items():
            (root / "docs" / f"{name}.md").write_text(text, "utf-8")
        return list(broken(root, pages(root)))

    def test_found(self) -> None:
        """A link to a file or a heading that is not there is found: as text, image, reference or HTML."""
        for text in ("[x](c.md)", "![x](c.png)", "[x][1]\n\n[1]: c.md", '<img src="c.svg">', "[x](#c)", "[x](b.md#c)"):
            self.assertEqual(len(self.check(a=text, b="# B")), 1, text)
        self.assertEqual(len(self.check(a="|a|\n|-|\n|[x](c.md)|")), 1)

    def test_good(self) -> None:
        """What leads somewhere, elsewhere, or is code, is left alone."""
        for text in (
            "[x](b.md)",
            "[x](../docs/b.md#a-b)",
            "[x](https://example.com/c.md)",
            "`[x](c.md)`",
            "    [x](c.md)",
        ):
            self.assertEqual(self.check(a=text, b="# `A` b!"), [], text)

    def test_same_headings(self) -> None:
        """The second heading of the same words has a number."""
        self.assertEqual(Page("# A b\n\n# A b\n\n# a-b-c").anchors, {"a-b", "a-b-1", "a-b-c"})
