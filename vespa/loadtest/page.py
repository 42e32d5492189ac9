"""A report as one HTML page without scripts, fonts or any external resource."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from attrs import frozen
from jinja2 import Environment, FunctionLoader, StrictUndefined

from vespa.loadtest.curves import curves
from vespa.loadtest.outcome import MEANINGS
from vespa.loadtest.plots import HEIGHT, WIDTH, Plot, plots
from vespa.loadtest.report import Report
from vespa.loadtest.sweep import SweepReport
from vespa.loadtest.sweep_text import best, levels
from vespa.loadtest.text import intention, objectives, times, tokens
from vespa.loadtest.thresholds import Check
from vespa.loadtest.units import duration, printable, size, three


@frozen
class Shown:
    """One test as the templates show it."""

    report: Report
    plots: list[Plot]
    times: list[list[str]]
    tokens: list[tuple[str, str]]
    objectives: str
    checks: Sequence[Check]


def page(report: Report, checks: Sequence[Check] = ()) -> str:
    """The page of a test, with its thresholds. All values are escaped, control characters in them replaced."""
    return _render(
        "page.html",
        target=report.about.target,
        started=report.about.started,
        interrupted=report.interrupted,
        intention=intention(report.about, report.plan),
        shown=_shown(report, checks),
    )


def sweep_page(report: SweepReport, intention: str, checks: Sequence[Sequence[Check]]) -> str:
    """The page of a sweep, with the thresholds of each level; otherwise as above."""
    names = [report.name(level) for level in report.levels]
    return _render(
        "sweep.html",
        target=report.about.target,
        started=report.about.started,
        interrupted=report.interrupted,
        intention=intention,
        best=[(name, *figure.split(" at ")) for name, figure in best(report)],
        objectives=objectives(report.levels[0].report.slo),
        remarks=report.remarks,
        plots=curves(report),
        levels=levels(report),
        checks=list(zip(names, checks, strict=True)) if any(checks) else [],
        tests=[
            (name, _shown(level.report, found)) for name, level, found in zip(names, report.levels, checks, strict=True)
        ],
    )


def _shown(report: Report, checks: Sequence[Check]) -> Shown:
    return Shown(report, plots(report), times(report), tokens(report), objectives(report.slo), checks)


def _render(name: str, **values: Any) -> str:
    environment = Environment(
        loader=FunctionLoader(_template),
        autoescape=True,
        finalize=_printable,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"duration": duration, "size": size, "three": three}
    environment.globals |= {"width": WIDTH, "height": HEIGHT, "meanings": MEANINGS}
    return environment.get_template(name).render(values)


def _template(name: str) -> str:
    return files("vespa.loadtest").joinpath(name).read_text("utf-8")


def _printable(value: Any) -> Any:
    # What a macro of ours has made was escaped and replaced within it.
    return printable(value) if isinstance(value, str) and not hasattr(value, "__html__") else value
