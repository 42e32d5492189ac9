"""The texts of a load test on a terminal: its plan, its progress, and the report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from io import StringIO
from textwrap import fill
from typing import TextIO

from rich.table import Table

from vespa.loadtest.about import About
from vespa.loadtest.histogram import Spread
from vespa.loadtest.outcome import MEANINGS
from vespa.loadtest.plan import Plan
from vespa.loadtest.report import Report
from vespa.loadtest.run_stats import FailureCount
from vespa.loadtest.thresholds import Check
from vespa.loadtest.units import duration, printable, size, three, tick
from vespa.runtime.terminal import Terminal

WIDTH = 100  # the width of a report that is not written to a terminal

MESSAGE_WIDTH = 40  # the minimum width of a failure's message, however long its code is

WIDE = 90  # the width of a terminal from which columns have two spaces between them

_SPREADS = (
    ("latency", "latency (E2E)"),
    ("service", "… from when sent"),
    ("first_byte", "first byte"),
    ("first_token", "first token (TTFT)"),
    ("per_output_token", "per token (TPOT)"),
    ("between_tokens", "between tokens (ITL)"),
)


def times(report: Report) -> list[list[str]]:
    """A heading, and a row for each kind of time that has values."""
    rows = [["", "p50", "p90", "p95", "p99", "max", "mean", "values"]]
    for name, title in _SPREADS:
        spread: Spread = getattr(report, name)
        if spread.count and (name != "service" or report.plan.open_loop):
            figures = (spread.p50, spread.p90, spread.p95, spread.p99, spread.max, spread.mean)
            rows.append([title, *map(duration, figures), f"{'' if spread.exact else '~ '}{spread.count:,}"])
    return rows


def intention(about: About, plan: Plan) -> str:
    """One line about the target and the plan."""
    amount = f"{plan.requests} requests" if plan.requests else "requests"
    amount += f" for {plan.duration:g} s" if plan.duration else ""
    if plan.open_loop:
        pace = f"{plan.rps:g} a second" + (" at random (Poisson)" if plan.poisson else "")
        pace += f", at most {plan.concurrency} in flight" if plan.concurrency else ""
    else:
        pace = f"{plan.concurrency} at a time"
    return printable(f"{amount}, {pace}, to {request(about)}")


def request(about: About) -> str:
    """The target and the kind of requests."""
    target = f"endpoint {about.target}" if about.through == "client" else about.target
    streamed = ", streamed" if about.stream else ""
    return f"{target}: POST {about.path}{streamed}, cost {about.cost:g}"


def table(report: Report, stream: TextIO, environ: Mapping[str, str], checks: Sequence[Check] = ()) -> str:
    """The whole report, with its thresholds, in a form that `stream` can show, with a final newline. Writes nothing."""
    terminal = Terminal(stream, environ, width=None if stream.isatty() else WIDTH)
    terminal.file = text = StringIO()
    terminal.print(intention(report.about, report.plan), style="bold", soft_wrap=True)
    if report.interrupted:
        terminal.print(f"ended early: {printable(report.interrupted)}", style="red", soft_wrap=True)
    terminal.print("", _figures(report), "", _times(report, terminal.width), sep="\n")
    if report.errors:
        style = "red" if report.verdict == "bad" else "yellow"
        terminal.print("\n" + failures(report.errors, terminal.width), style=style, soft_wrap=True)
    print_remarks(terminal, report.remarks)
    if checks:
        terminal.print("", _checks(checks), sep="\n")
    return stripped(text.getvalue())


def stripped(text: str) -> str:
    """A text without spaces at the ends of its lines, and with a final newline."""
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


def print_remarks(terminal: Terminal, remarks: Iterable[str]) -> None:
    """Print each remark as a paragraph."""
    for remark in remarks:
        said = fill(printable(remark), terminal.width, initial_indent="! ", subsequent_indent="  ")
        terminal.print("\n" + said, style="yellow", soft_wrap=True)


def table_of(rows: Sequence[Sequence[str]], width: int) -> Table:
    """A table with a heading, the first column to the left, the others to the right; `width`: that of the terminal."""
    head, *others = rows
    gap = 2 if width >= WIDE else 1
    found = Table(*head, box=None, pad_edge=False, header_style="cyan", padding=(0, gap, 0, 0))
    for column in found.columns[1:]:
        column.justify = "right"
    for row in others:
        found.add_row(*row)
    return found


def _figures(report: Report) -> Table:
    share = f" ({report.succeeded / report.sent:.2%})" if report.sent else ""
    counts = f"{report.sent} sent, {report.succeeded} succeeded{share}, {report.failed} failed"
    if report.unfinished:
        counts += f", {report.unfinished} given up"
    rate = f"{three(report.requests_per_second)} requests/s, {size(report.bytes_per_second)}/s"
    statuses = ", ".join(f"{status}: {count}" for status, count in report.statuses.items())
    found = Table.grid(padding=(0, 2, 0, 0))
    found.add_column(style="cyan")
    found.add_row("requests", f"{counts}, in {duration(report.seconds)}")
    found.add_row("statuses", statuses or "none")
    found.add_row("throughput", f"{rate}, at most {report.peak_in_flight} in flight")
    if report.slo:
        good = f"{three(report.goodput)} requests/s, {report.good_share:.2%} within {objectives(report.slo)}"
        found.add_row("goodput", good)
    for name, counted in tokens(report):
        found.add_row(name, counted)
    return found


def objectives(slo: Mapping[str, float]) -> str:
    """Service level objectives in words."""
    return ", ".join(f"{name.upper()} {tick(limit)}" for name, limit in slo.items())


def tokens(report: Report) -> list[tuple[str, str]]:
    """Output and input tokens, and by whose count; each with its name."""
    how = {
        "usage": "as the backend counts",
        "pieces": "as pieces of streams",
        "both": "some as the backend counts, some as pieces of streams",
    }
    output = "none counted"
    if report.tokens:
        output = (
            f"{three(report.tokens_per_second)} tokens/s; {report.tokens:,} in all, {how[report.tokens_counted_by]}"
        )
    prompts = "none counted: the backend reports none"
    if report.input_tokens:
        prompts = f"{three(report.input_tokens_per_second)} tokens/s; {report.input_tokens:,} in all, {how['usage']}"
    return [("output", output), ("input", prompts)]


def _times(report: Report, width: int) -> Table | str:
    rows = times(report)
    return table_of(rows, width) if len(rows) > 1 else "no request succeeded, so there are no times"


def _checks(checks: Sequence[Check]) -> Table:
    found = Table("fail if", "it was", "", box=None, pad_edge=False, header_style="cyan", padding=(0, 2, 0, 0))
    for each in checks:
        found.add_row(
            printable(each.threshold), each.shown, "FAILED" if each.failed else "passed", style=style_of(each)
        )
    return found


def style_of(check: Check) -> str:
    """The colour of a threshold on a terminal."""
    return "red" if check.failed else "green"


def failures(errors: Iterable[FailureCount], width: int) -> str:
    """Kinds of failures in columns, with the messages wrapped."""
    rows = [("failures", "kind", "status", "code", "the first of them")]
    for error in errors:
        message = printable(error.message) or MEANINGS[error.kind]
        rows.append((str(error.count), error.kind, str(error.status or "-"), printable(error.code) or "-", message))
    widths = [max(len(row[place]) for row in rows) for place in range(4)]
    lines = []
    for count, *cells, message in rows:
        head = f"{count:>{widths[0]}}  " + "".join(
            f"{cell:{width}}  " for cell, width in zip(cells, widths[1:], strict=True)
        )
        # Addresses and the like are not broken, so that they can be copied.
        lines.append(
            fill(
                message,
                max(width, len(head) + MESSAGE_WIDTH),
                initial_indent=head,
                subsequent_indent=" " * len(head),
                break_long_words=False,
                break_on_hyphens=False,
            )
        )
    return "\n".join(lines)
