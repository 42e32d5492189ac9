"""How the documentation becomes a site: `./scripts/docs.sh` builds it with Sphinx, from the pages that GitHub shows.

The navigation is docs/index.md: each of its sections is a part of it, and each link a page.
"""

from __future__ import annotations

from importlib.metadata import version as installed_version
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token
from sphinx.application import Sphinx

ROOT = Path(__file__).parent.parent

project = "Vespa"
author = "The Vespa authors"
copyright = "2026, the Vespa authors"
version = release = installed_version("vespa-proxy")

root_doc = "docs/index"
include_patterns = ["*.md", "docs/*.md", "perf/README.md", "examples/README.md", "deploy/vast/README.md"]
extensions = ["myst_parser", "sphinxcontrib.mermaid"]
myst_heading_anchors = 4
myst_fence_as_directive = ["mermaid"]
highlight_language = "none"
suppress_warnings = ["misc.highlighting_failure"]  # excerpts with `…` are no Python

html_theme = "furo"
html_title = f"Vespa {version.partition('+')[0]}"
html_copy_source = False
# The first page is at the top of the site, though its source is in docs/.
html_additional_pages = {"index": "to_documentation.html"}
templates_path = ["templates"]


def navigation(text: str) -> str:
    """The toctrees for a page of sections with lists of links: one for each section, in MyST's writing."""
    trees: list[str] = []
    tokens = MarkdownIt().parse(text)
    for before, token in zip(tokens, tokens[1:], strict=False):
        if before.type == "heading_open" and before.tag == "h2":
            trees.append(f"```{{toctree}}\n:hidden:\n:caption: {token.content}\n")
        elif trees:
            trees[-1] += "".join(f"\n{entry}" for entry in _entries(token.children or []))
    return "".join(f"\n\n{tree}\n```" for tree in trees)


def _entries(tokens: list[Token]) -> list[str]:
    return [
        f"{text.content} <{str(link.attrs['href']).removesuffix('.md')}>"
        for link, text in zip(tokens, tokens[1:], strict=False)
        if link.type == "link_open"
    ]


def add_navigation(app: Sphinx, name: str, source: list[str]) -> None:
    """Sphinx's `source-read`: the first page gets its own list as navigation."""
    if name == root_doc:
        source[0] += navigation(source[0])


def setup(app: Sphinx) -> None:
    """Called by Sphinx once this file is read."""
    app.connect("source-read", add_navigation)
