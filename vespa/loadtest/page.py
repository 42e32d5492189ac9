"""The report as one HTML page without scripts, fonts or any external resource."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined

from vespa.loadtest.outcome import MEANINGS
from vespa.loadtest.plots import HEIGHT, WIDTH, plots
from vespa.loadtest.report import Report
from vespa.loadtest.text import intention, objectives, times, tokens
from vespa.loadtest.thresholds import Check
from vespa.loadtest.units import duration, printable, size, three


def page(report: Report, checks: Sequence[Check] = ()) -> str:
    """The whole page, with the test's thresholds. All values are escaped, control characters in them replaced."""
    environment = Environment(
        autoescape=True, finalize=_printable, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"duration": duration, "size": size, "three": three}
    template = environment.from_string(files("vespa.loadtest").joinpath("page.html").read_text("utf-8"))
    return template.render(
        report=report,
        intention=intention(report.about, report.plan),
        plots=plots(report),
        width=WIDTH,
        height=HEIGHT,
        times=times(report),
        checks=checks,
        tokens=tokens(report),
        objectives=objectives(report.slo),
        meanings=MEANINGS,
    )


def _printable(value: Any) -> Any:
    return printable(value) if isinstance(value, str) else value
