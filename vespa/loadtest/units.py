"""Formats figures for people."""

from __future__ import annotations

from collections.abc import Callable

_CONTROL = dict.fromkeys([*range(32), *range(0x7F, 0xA0), 0x2028, 0x2029], " ")
_STEPS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def printable(text: str) -> str:
    """A foreign text with spaces instead of control characters."""
    return text.translate(_CONTROL)


def duration(seconds: float, number: Callable[[float], str] | None = None) -> str:
    """A measured time with about three digits: 850 us, 12.3 ms, 1.25 s, 312 s. `number` formats the number."""
    number = number or three
    if seconds == 0:
        return "0 s"
    for limit, factor, unit in ((0.0009995, 1e6, "us"), (0.9995, 1e3, "ms")):
        if seconds < limit:
            return f"{number(seconds * factor)} {unit}"
    return f"{number(seconds)} s"


def tick(seconds: float) -> str:
    """A time as a label on an axis: 0 s, 50 ms, 1.5 s."""
    return duration(seconds, "{:g}".format)


def three(number: float) -> str:
    """A number with three digits, or with all digits before the point."""
    if number == 0:
        return "0"
    for limit, digits in ((9.995, 2), (99.95, 1)):
        if abs(number) < limit:
            return f"{number:.{digits}f}"
    return f"{number:,.0f}"


def size(count: float) -> str:
    """A number of bytes, in powers of 1000."""
    for limit, prefix in _STEPS:
        if count >= limit * 0.9995:
            return f"{three(count / limit)} {prefix}B"
    return f"{count:.0f} B"


def short(number: float) -> str:
    """A label on an axis: 0, 0.25, 15, 2k, 1.5M."""
    for limit, prefix in _STEPS:
        if abs(number) >= limit:
            return f"{number / limit:g}{prefix}"
    return f"{number:g}"
