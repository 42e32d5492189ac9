"""Shows findings: as a table on a terminal, or as plain lines where rich is not installed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, TextIO

from vespa.checking.finding import Finding, Findings, State
from vespa.runtime.standard_streams import put

if TYPE_CHECKING:
    from rich.console import RenderableType

_WORDS: Final[dict[State, str]] = {"ok": "ok", "warning": "warning", "failed": "FAILED", "skipped": "skipped"}
_STYLES: Final[dict[State, str]] = {"ok": "green", "warning": "yellow", "failed": "bold red", "skipped": "dim"}
_REPORT: Final = "The first report to the autoscaler would be:"
_ADVICE: Final = "> "  # what to do


def show(parts: Sequence[Findings], last: str, stream: TextIO, environ: Mapping[str, str]) -> None:
    """Write all findings, and `last` as the last line. Without rich, the lines are plain. Raises OutputError."""
    try:
        from vespa.runtime.terminal import Terminal
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "rich":
            raise
        put(stream, plain(parts) + f"\n{last}\n")
        return
    terminal = Terminal(stream, environ)
    if not terminal.is_terminal:  # a table would fill every line with spaces
        put(stream, plain(parts) + f"\n{last}\n")
        return
    for part in parts:
        terminal.print(f"{part.part}\n")
        terminal.print(table(part.found), soft_wrap=False)
        terminal.print("")
        if part.report is not None:
            terminal.print(_report(part.report))
    terminal.print(last)


def table(findings: Sequence[Finding]) -> RenderableType:
    """The findings as rich's table: the state in a colour, what it is, and below what was found what to do."""
    from rich.table import Column, Table
    from rich.text import Text

    drawn = Table(
        Column(no_wrap=True),
        Column(overflow="fold"),
        Column(overflow="fold", ratio=1),
        box=None,
        show_header=False,
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )
    for each, advice in zip(findings, _advices(findings), strict=True):
        said = f"{each.why}\n{_ADVICE}{advice}" if advice else each.why
        drawn.add_row(Text(_WORDS[each.state], _STYLES[each.state]), each.what, said)
    return drawn


def plain(parts: Sequence[Findings]) -> str:
    """The findings as lines, without rich."""
    lines = []
    for part in parts:
        width = max((len(each.what) for each in part.found), default=0)
        lines += [part.part, ""]
        for each, advice in zip(part.found, _advices(part.found), strict=True):
            lines.append(f"{_WORDS[each.state]:9}{_one_line(each.what):{width}}  {_one_line(each.why)}")
            if advice:
                lines.append(f"{'':{9 + width}}  {_ADVICE}{_one_line(advice)}")
        lines.append("")
        if part.report is not None:
            lines.append(_report(part.report))
    return "\n".join(lines)


def _advices(findings: Sequence[Finding]) -> list[str]:
    """What to do about each; of the same advice several times in a row only the last."""
    following = [each.advice for each in findings[1:]] + [""]
    return ["" if each.advice == after else each.advice for each, after in zip(findings, following, strict=True)]


def _report(report: Mapping[str, object]) -> str:
    return f"{_REPORT}\n\n{json.dumps(report, indent=1)}\n"


def _one_line(text: str) -> str:
    """Text from the network cannot drive a terminal."""
    return "".join(each if each.isprintable() else " " for each in text)
