"""The report as a table, and a run's progress in a line."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from textwrap import wrap

from vespa.loadtest.histogram import Spread
from vespa.loadtest.outcome import MEANINGS
from vespa.loadtest.plan import Plan
from vespa.loadtest.report import About, Report
from vespa.loadtest.run_stats import RunStats
from vespa.loadtest.units import duration, printable, size, three

WIDTH = 100

MESSAGE_WIDTH = 40
"""What a failure's message has at least, however much its code takes."""

_SPREADS = (
    ("latency", "latency"),
    ("service", "… from when sent"),
    ("first_byte", "first byte"),
    ("first_token", "first token"),
    ("between_tokens", "between tokens"),
)


def times(report: Report) -> list[list[str]]:
    """A heading, and a row for each of the times that there is something to say of."""
    rows = [["", "p50", "p90", "p99", "max", "mean", "values"]]
    for name, title in _SPREADS:
        spread: Spread = getattr(report, name)
        if spread.count and (name != "service" or report.plan.open_loop):
            figures = (spread.p50, spread.p90, spread.p99, spread.max, spread.mean)
            rows.append([title, *map(duration, figures), f"{'' if spread.exact else '~ '}{spread.count:,}"])
    return rows


def intention(about: About, plan: Plan) -> str:
    """What is tested and how, in one line."""
    amount = f"{plan.requests} requests" if plan.requests else "requests"
    amount += f" for {plan.duration:g} s" if plan.duration else ""
    if plan.open_loop:
        pace = f"{plan.rps:g} a second" + (" at random (Poisson)" if plan.poisson else "")
        pace += f", at most {plan.concurrency} under way" if plan.concurrency else ""
    else:
        pace = f"{plan.concurrency} at a time"
    target = f"endpoint {about.target}" if about.through == "client" else about.target
    streamed = ", streamed" if about.stream else ""
    return printable(f"{amount}, {pace}, to {target}: POST {about.path}{streamed}, cost {about.cost:g}")


def progress(stats: RunStats, now: float, *, waiting: str = "") -> str:
    """How far a run is, in one line; `now` on the tester's clock, `waiting` what is waited for."""
    seconds = max(0.0, now - stats.began)
    done = stats.succeeded + stats.failed + stats.unfinished
    parts = [
        f"{seconds:.0f} s",
        f"sent {stats.sent}",
        f"done {done}",
        f"in flight {stats.in_flight}",
        f"ok {stats.succeeded}",
        f"failed {stats.failed}",
        f"{three(stats.succeeded / seconds if seconds else 0.0)}/s",
    ]
    if stats.succeeded:
        parts.append(f"p50 {duration(stats.glance.quantiles(0.5)[0])}")
    if waiting:
        parts.append(printable(waiting))
    return "  ".join(parts)


def table(report: Report) -> str:
    """The whole report for a terminal, with a last newline."""
    lines = [intention(report.about, report.plan)]
    if report.interrupted:
        lines.append(f"ended early: {printable(report.interrupted)}")
    lines += ["", *_figures(report), "", *_spreads(report)]
    if report.errors:
        lines += ["", *_errors(report)]
    for remark in report.remarks:
        lines += ["", *wrap(printable(remark), WIDTH, initial_indent="! ", subsequent_indent="  ")]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def aligned(rows: Sequence[Sequence[str]], right: frozenset[int] = frozenset()) -> list[str]:
    """Rows of cells in columns, two spaces apart; the columns in `right` end flush."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if place in right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _figures(report: Report) -> list[str]:
    share = f" ({report.succeeded / report.sent:.2%})" if report.sent else ""
    counts = f"{report.sent} sent, {report.succeeded} succeeded{share}, {report.failed} failed"
    if report.unfinished:
        counts += f", {report.unfinished} given up"
    tokens = f"{three(report.tokens_per_second)} tokens/s" if report.tokens else "no tokens told"
    rows = [
        ("requests", f"{counts}, in {duration(report.seconds)}"),
        ("statuses", ", ".join(f"{status}: {count}" for status, count in report.statuses.items()) or "none"),
        ("throughput", f"{three(report.requests_per_second)} requests/s, {tokens}, {size(report.bytes_per_second)}/s"),
        ("received", f"{report.tokens:,} tokens{_counted(report)}, {size(report.bytes)}"),
    ]
    return aligned(rows)


def _counted(report: Report) -> str:
    how = {"usage": " as the backend counts", "pieces": " as pieces of streams", "both": " counted either way"}
    return how.get(report.tokens_counted_by, "")


def _spreads(report: Report) -> list[str]:
    rows = times(report)
    return aligned(rows, frozenset(range(1, 7))) if len(rows) > 1 else ["no request succeeded: there are no times"]


def _errors(report: Report) -> list[str]:
    rows = [("failures", "kind", "status", "code")]
    messages = ["the first of them"]
    for error in report.errors:
        status = str(error.status) if error.status else "-"
        rows.append((str(error.count), error.kind, status, printable(error.code) or "-"))
        messages.append(printable(error.message) or MEANINGS.get(error.kind, ""))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    indent = sum(widths) + 2 * len(widths)
    lines = []
    for line, message in zip(aligned(rows, frozenset({0})), messages, strict=True):
        # Addresses and the like stay whole, so that one can copy them.
        said = wrap(message, max(MESSAGE_WIDTH, WIDTH - indent), break_long_words=False, break_on_hyphens=False)
        lines += [f"{start:{indent}}{part}" for start, part in zip_longest([line], said or [""], fillvalue="")]
    return lines
