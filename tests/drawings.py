"""
The drawings in docs/architecture.md, drawn from the tables in the code.

`python -m tests.drawings` draws them anew. Each stands between `<!-- drawing: NAME -->` and `<!-- end of drawing -->`.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from vespa.accounting import lifecycle
from vespa.protocol.connection_state import CLIENT, SERVER, AnyEvent, AnyState

PAGE: Final = Path(__file__).parent.parent / "docs" / "architecture.md"

_DRAWING: Final = re.compile(r"(<!-- drawing: ([^>]+) -->\n)(.*?)(<!-- end of drawing -->\n)", re.DOTALL)


def mermaid(table: Mapping[AnyState, Mapping[AnyEvent, AnyState]]) -> str:
    """A table as a Mermaid state diagram. The table's first state is the beginning."""
    lines = ["stateDiagram-v2", f"    [*] --> {next(iter(table)).name}"]
    for state, row in table.items():
        lines.extend(f"    {state.name} --> {target.name}: {event.name}" for event, target in row.items())
        if not row:
            lines.append(f"    {state.name} --> [*]")
    return "\n".join(lines) + "\n"


def drawings() -> dict[str, str]:
    """Each drawing by its name, as Markdown."""
    drawn = {
        "lifecycle": mermaid(lifecycle.TABLE),
        "server connection": mermaid(SERVER),
        "client connection": mermaid(CLIENT),
    }
    return {name: f"```mermaid\n{text}```\n" for name, text in drawn.items()}


def found(page: str) -> dict[str, str]:
    """The drawings of a page by their names, as they stand there."""
    return {name: text for _, name, text, _ in _DRAWING.findall(page)}


def redrawn(page: str) -> str:
    """The page with its drawings as they should be. Raises KeyError for a name that is none."""
    drawn = drawings()
    return _DRAWING.sub(lambda match: match[1] + drawn[match[2]] + match[4], page)


if __name__ == "__main__":
    argparse.ArgumentParser(prog="python -m tests.drawings", description=f"Draw the diagrams in {PAGE}.").parse_args()
    PAGE.write_text(redrawn(PAGE.read_text("utf-8")), "utf-8")
