"""The result of a benchmark: as a table of its levels, or as JSON."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any, Final

from attrs import frozen

from vespa.benchmarking.contract import Figure, Level

HEADINGS: Final = ("at once", "throughput", "spread", "ended", "failed", "seconds", "")
_REPORTED: Final = "<- reported"


@frozen
class Measured:
    """A measurement. `saved` is the file that keeps the result, or ""."""

    benchmark: str
    backend: str
    figure: Figure
    levels: Sequence[Level]
    seconds: float
    saved: str = ""

    @property
    def unit(self) -> str:
        """The unit of work."""
        return self.levels[0].unit if self.levels else "units"


def rows(measured: Measured) -> list[tuple[str, ...]]:
    """The cells of the table under `HEADINGS`: one row for each part of the measurement, in order."""
    chosen = _chosen(measured)
    return [
        (
            str(level.concurrency),
            f"{level.throughput:.1f} {level.unit}/s",
            "-" if level.spread is None else f"± {level.spread:.0%}",
            str(level.ended),
            str(level.failed),
            f"{level.seconds:.1f}",
            _REPORTED if number == chosen else "",
        )
        for number, level in enumerate(measured.levels)
    ]


def _chosen(measured: Measured) -> int | None:
    """The number of the level whose throughput is nearest to the result, among those of its concurrency."""
    figure = measured.figure
    near = [
        (abs(level.throughput - figure), number)
        for number, level in enumerate(measured.levels)
        if figure.concurrency in (0, level.concurrency)
    ]
    return min(near)[1] if near else None


def plain_table(measured: Measured) -> str:
    """The table as text; "" if the benchmark reported no levels."""
    cells = [HEADINGS, *rows(measured)]
    if len(cells) == 1:
        return ""
    widths = [max(len(row[column]) for row in cells) for column in range(len(HEADINGS))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join(lines) + "\n"


def sentences(measured: Measured, several: bool = False) -> list[str]:
    """What the worker would report, how much repeated parts differ, and what was kept. `several`: this is a part."""
    figure = measured.figure
    at_once = f" with {figure.concurrency} requests at once" if figure.concurrency else ""
    result = f"{float(figure):.1f} {measured.unit}/s{at_once}"
    lines = [f"This backend does {result}." if several else f"A worker would report {result}, as max_perf."]
    lines += [
        f"The {len(same)} measurements with {concurrency} at once have a standard deviation of {_deviation(same):.0%}."
        for concurrency, same in _repeated(measured.levels).items()
    ]
    return lines + ([f"The result is kept in {measured.saved}."] if measured.saved else [])


def sum_of(measured: Sequence[Measured]) -> str:
    """What the worker would report for several backends, in a sentence."""
    total, unit = sum(float(each.figure) for each in measured), measured[0].unit
    return f"A worker would report {total:.1f} {unit}/s for {len(measured)} backends together, as max_perf."


def several_to_json(measured: Sequence[Measured], version: str) -> dict[str, Any]:
    """The results of several backends for programs."""
    return {
        "vespa": version,
        "throughput": sum(float(each.figure) for each in measured),
        "backends": [to_json(each, version) for each in measured],
    }


def _repeated(levels: Sequence[Level]) -> dict[int, list[float]]:
    """The throughputs that were measured more than once, by concurrency."""
    found: dict[int, list[float]] = {}
    for level in levels:
        found.setdefault(level.concurrency, []).append(level.throughput)
    return {concurrency: same for concurrency, same in found.items() if len(same) > 1 and sum(same) > 0}


def _deviation(values: Sequence[float]) -> float:
    return statistics.stdev(values) / statistics.fmean(values)


def to_json(measured: Measured, version: str) -> dict[str, Any]:
    """The result for programs."""
    return {
        "vespa": version,
        "benchmark": measured.benchmark,
        "backend": measured.backend,
        "throughput": float(measured.figure),
        "concurrency": measured.figure.concurrency,
        "unit": measured.unit,
        "seconds": round(measured.seconds, 3),
        "levels": [level.values() for level in measured.levels],
        "saved": measured.saved,
    }
