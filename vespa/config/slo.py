"""Service level objectives of a load test: the longest times with which a request counts as good."""

from __future__ import annotations

import re
from typing import Final

from attrs import fields, frozen

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(us|ms|s)", re.ASCII)
_UNITS: Final = {"us": 1e6, "ms": 1e3, "s": 1.0}  # in a second
_LONGEST: Final = 1e9


def seconds(raw: str) -> float:
    """A time with its unit, such as 500ms. Raises ValueError if it is none, or not above 0."""
    found = _DURATION.fullmatch(raw)
    if found is None:
        raise ValueError(f"{raw or 'nothing'} is not a time: write a number and us, ms or s, such as 500ms or 1.5s")
    value = float(found[1]) / _UNITS[found[2]]
    if not 0 < value <= _LONGEST:
        raise ValueError(f"{raw} must be more than 0, and at most {_LONGEST:g}s")
    return value


@frozen
class SLO:
    """
    The longest time of each kind, in seconds; None: any. A request is good if it keeps all of them.

    `ttft`: time to the first token, `tpot`: time per output token after the first, `e2e`: from when it was due to its
    end.
    """

    ttft: float | None = None
    tpot: float | None = None
    e2e: float | None = None

    @property
    def limits(self) -> dict[str, float]:
        """The kinds that have a limit."""
        values = {name: getattr(self, name) for name in NAMES}
        return {name: limit for name, limit in values.items() if limit is not None}


NAMES: Final = tuple(field.name for field in fields(SLO))


def slo(raw: str) -> SLO:
    """The objectives of a text such as ttft=500ms,tpot=50ms. Raises ValueError."""
    limits: dict[str, float] = {}
    for part in raw.split(","):
        name, _, limit = (each.strip() for each in part.partition("="))
        if name not in NAMES:
            raise ValueError(f"{name or 'an empty part'} is not an objective: use {', '.join(NAMES)}, as in ttft=500ms")
        if name in limits:
            raise ValueError(f"{name} is there twice")
        limits[name] = seconds(limit)
    return SLO(**limits)
