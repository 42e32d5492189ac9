"""The levels of a load test that is repeated at several concurrencies or rates."""

from __future__ import annotations

import re
from typing import Final, Literal

from attrs import frozen

Over = Literal["concurrency", "rps"]

MOST: Final = 50
"""The maximum number of levels."""

_RANGE: Final = re.compile(r"([0-9]{1,9})\.\.([0-9]{1,9})", re.ASCII)
_WHOLE: Final = re.compile(r"[0-9]{1,9}", re.ASCII)
_DECIMAL: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?", re.ASCII)
_EXAMPLES: Final = "concurrency=1,2,4,8, concurrency=1..64 or rps=1,2,5"


@frozen
class Sweep:
    """What is varied, and its values in the order of the tests."""

    over: Over
    values: tuple[float, ...]


def sweep(raw: str) -> Sweep:
    """
    The sweep of a text such as concurrency=1,2,4,8. `1..64` doubles from 1 to 64.

    Raises ValueError, which shows examples.
    """
    over, equals, levels = (part.strip() for part in raw.partition("="))
    if over not in ("concurrency", "rps") or not equals:
        raise ValueError(f"must be concurrency= or rps= and the levels, such as {_EXAMPLES}")
    values: list[float] = []
    for part in levels.split(","):
        values += _levels(over, part.strip())
    if len(values) > MOST:
        raise ValueError(f"has {len(values)} levels: at most {MOST} are possible")
    if values != sorted(set(values)):
        raise ValueError("must have levels that rise from one to the next")
    return Sweep("concurrency" if over == "concurrency" else "rps", tuple(values))


def _levels(over: str, part: str) -> list[float]:
    if doubled := _RANGE.fullmatch(part):
        low, high = int(doubled[1]), int(doubled[2])
        if not 0 < low < high:
            raise ValueError(f"{part} must rise from at least 1")
        found = [low]
        while found[-1] * 2 < high:
            found.append(found[-1] * 2)
        return [*found, high]
    number = (_WHOLE if over == "concurrency" else _DECIMAL).fullmatch(part)
    if number is None or not float(part):
        wanted = "a whole number" if over == "concurrency" else "a number"
        raise ValueError(f"{part or 'nothing'} is no level: it must be {wanted} above 0, such as {_EXAMPLES}")
    return [float(part)]
