"""The report of a sweep on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from io import StringIO
from typing import TextIO

from attrs import evolve
from rich.table import Table
from rich.text import Text

from vespa.config.sweep import Sweep
from vespa.loadtest.about import About
from vespa.loadtest.plan import Plan
from vespa.loadtest.report import Report
from vespa.loadtest.run_stats import FailureCount
from vespa.loadtest.sweep import SweepReport
from vespa.loadtest.text import WIDTH, failures, objectives, print_remarks, request, stripped, style_of, table_of
from vespa.loadtest.thresholds import Check
from vespa.loadtest.units import duration, printable, three
from vespa.runtime.terminal import Terminal


def sweep_intention(about: About, plan: Plan, sweep: Sweep) -> str:
    """One line about the target and the levels."""
    levels = ", ".join(f"{value:g}" for value in sweep.values)
    pace = f"{levels} at a time" if sweep.over == "concurrency" else f"{levels} requests a second"
    pace += " at random (Poisson)" if plan.poisson else ""
    limits = [f"{plan.requests} requests"] * (plan.requests > 0) + [f"{plan.duration:g} s"] * (plan.duration > 0)
    return printable(f"{pace}, {' or '.join(limits)} each, to {request(about)}")


def levels(report: SweepReport, *, brief: bool = False) -> list[list[str]]:
    """A heading, and a row for each level; `brief`: the main columns. Those of what was not measured are left out."""
    reports = [level.report for level in report.levels]
    columns = [
        ["concurrency" if report.over == "concurrency" else "rate", *(f"{level.value:g}" for level in report.levels)]
    ]

    def column(title: str, *cells: str) -> None:
        columns.append([title, *cells])

    def times(title: str, field: str, quantiles: Iterable[str]) -> None:
        spreads = [getattr(each, field) for each in reports]
        for quantile in quantiles if any(spread.count for spread in spreads) else ():
            cells = [duration(getattr(spread, quantile)) if spread.count else "-" for spread in spreads]
            column(f"{title} {quantile}", *cells)

    column("requests/s", *(three(each.requests_per_second) for each in reports))
    if any(each.slo for each in reports):
        column("good/s", *(three(each.goodput) for each in reports))
        if not brief:
            column("good", *(f"{each.good_share:.1%}" for each in reports))
    if any(each.tokens for each in reports):
        column("tokens/s", *(three(each.tokens_per_second) for each in reports))
    times("E2E", "latency", ("p50", "p95"))
    times("TTFT", "first_token", ("p95",) if brief else ("p50", "p95"))
    times("TPOT", "per_output_token", ("p95",) if brief else ("p50", "p95"))
    column("failed", *(f"{each.failed:,}" for each in reports))
    return [list(row) for row in zip(*columns, strict=True)]


def best(report: SweepReport) -> list[tuple[str, str]]:
    """The levels with the highest throughput and goodput; each with its name."""
    figures: list[tuple[str, Callable[[Report], float]]] = [
        ("throughput", lambda each: each.requests_per_second),
        ("goodput", lambda each: each.goodput),
    ]
    found = []
    for name, figure in figures:
        if level := report.best(figure):
            found.append((f"highest {name}", f"{three(figure(level.report))} requests/s at {report.name(level)}"))
    return found


def all_errors(reports: Iterable[Report]) -> list[FailureCount]:
    """The failures of all levels, those of a kind counted together, the most frequent first."""
    found: dict[tuple[str, int, str], FailureCount] = {}
    for report in reports:
        for error in report.errors:
            known = found.setdefault((error.kind, error.status, error.code), evolve(error, count=0))
            known.count += error.count
    return sorted(found.values(), key=lambda error: -error.count)


def sweep_table(
    report: SweepReport,
    intention: str,
    stream: TextIO,
    environ: Mapping[str, str],
    checks: Sequence[Sequence[Check]] = (),
) -> str:
    """The whole report in a form that `stream` can show; `checks` has the thresholds of each level."""
    terminal = Terminal(stream, environ, width=None if stream.isatty() else WIDTH)
    terminal.file = text = StringIO()
    terminal.print(intention, style="bold", soft_wrap=True)
    if report.interrupted:
        terminal.print(f"ended early: {printable(report.interrupted)}", style="red", soft_wrap=True)
    terminal.print("", table_of(levels(report, brief=True), terminal.width), sep="\n")
    lines = [f"{name:<18}  {figure}" for name, figure in best(report)]
    if slo := report.levels[0].report.slo:
        lines.append(f"{'good is within':<18}  {objectives(slo)}")
    terminal.print("", *lines, sep="\n", soft_wrap=True)
    if errors := all_errors(level.report for level in report.levels):
        style = "red" if any(level.report.verdict == "bad" for level in report.levels) else "yellow"
        terminal.print("\n" + failures(errors, terminal.width), style=style, soft_wrap=True)
    print_remarks(terminal, report.remarks)
    if any(checks):
        terminal.print("", _checks(report, checks), sep="\n")
    return stripped(text.getvalue())


def _checks(report: SweepReport, checks: Sequence[Sequence[Check]]) -> Table:
    """A row for each level, and a column for each threshold with what was measured."""
    found = Table("fail if", *(printable(each.threshold) for each in checks[0]), box=None, pad_edge=False)
    found.header_style, found.padding = "cyan", (0, 2, 0, 0)
    for level, each_of in zip(report.levels, checks, strict=True):
        cells = [Text(f"{each.shown}{' FAILED' * each.failed}", style=style_of(each)) for each in each_of]
        found.add_row(report.name(level), *cells)
    return found
