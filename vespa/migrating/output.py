"""The text and the JSON of `vespa-proxy migrate`."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Sequence
from textwrap import wrap
from typing import Final

from vespa.migrating.plan import Plan, Remark

_WIDTH: Final = 100


def to_text(plan: Plan, title: str, notes: Sequence[str]) -> str:
    """
    A script for a shell: lines of `export`, all else comments.

    Nothing of the file can end a comment or a quotation: control characters are shown as escapes.
    """
    lines = [*_comment(title), *(line for note in notes for line in _comment(note)), "#"]
    for setting in plan.settings:
        lines += [*_comment(f"{setting.source}:"), f"export {setting.name}={shlex.quote(setting.value)}"]
    lines += _section("Missing: Vespa does not start without this", plan.missing)
    lines += _section("What has no setting, and what to do", plan.remarks)
    return "\n".join(lines) + "\n"


def to_json(plan: Plan, file: str, package: str, notes: Sequence[str], benchmark: str) -> str:
    """The same for programs."""

    def remarks(each: Iterable[Remark]) -> list[dict[str, str]]:
        return [{"about": remark.about, "text": remark.text} for remark in each]

    document = {
        "file": file,
        "package": package or None,
        "environment": plan.environment,
        "sources": {setting.name: setting.source for setting in plan.settings},
        "benchmark": benchmark or None,
        "missing": remarks(plan.missing),
        "remarks": remarks(plan.remarks),
        "notes": [*notes],
    }
    return json.dumps(document, indent=1) + "\n"


def shown(text: str) -> str:
    """Text of the file for one line: what is not printable becomes an escape."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text)


def _comment(text: str, first: str = "# ", later: str = "#   ") -> list[str]:
    return wrap(
        shown(text),
        _WIDTH,
        initial_indent=first,
        subsequent_indent=later,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _section(title: str, remarks: Sequence[Remark]) -> list[str]:
    if not remarks:
        return []
    lines = ["", *_comment(f"{title}:")]
    for remark in remarks:
        lines += _comment(f"{remark.about}: {remark.text}", "# - ", "#   ")
    return lines
