"""Numbers, durations and ages as people read them."""

from __future__ import annotations

import math

_UNITS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"))


def number(value: float) -> str:
    """A number with three significant digits at least; thousands are grouped."""
    if not math.isfinite(value):
        return "∞" if value > 0 else "?"
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def duration(seconds: float) -> str:
    """A duration: "1.5 ms", "320 ms", "4.2 s", "5 min", "2 h 13 min"."""
    if not math.isfinite(seconds):
        return "∞"
    if seconds < 0.9995:
        return f"{seconds * 1000:.3g} ms" if seconds > 0 else "0 s"
    if seconds < 59.5:
        return f"{seconds:.2g} s" if seconds < 9.95 else f"{seconds:.0f} s"
    whole = round(seconds)
    for index, (size, name) in enumerate(_UNITS):
        if whole >= size:
            large, rest = divmod(whole, int(size))
            if index + 1 < len(_UNITS):
                smaller, small_name = _UNITS[index + 1]
                small = rest // int(smaller)
                return f"{large} {name} {small} {small_name}" if small else f"{large} {name}"
            return f"{large} {name} {rest} s" if rest and large < 10 else f"{large} {name}"
    raise AssertionError("a minute is the least")


def age(seconds: float) -> str:
    """How long ago: "4.2 s ago"; "just now" below half a second."""
    return "just now" if seconds < 0.5 else f"{duration(seconds)} ago"


def moment(at: float, now: float) -> str:
    """A time as its distance from now."""
    return age(now - at) if at <= now else f"in {duration(at - now)}"


def amount(value: float | None, word: str) -> str:
    """ "3 idle"; "" for None."""
    return "" if value is None else f"{number(value)} {word}"


def plural(value: float | None, word: str) -> str:
    """The same; a plural loses its "s" for one."""
    text = amount(value, word)
    return text[:-1] if value == 1 and word.endswith("s") else text


def units_of_work(value: float) -> str:
    """An amount of work: "1 unit of work", "40 units of work"."""
    return f"{number(value)} {'unit' if value == 1 else 'units'} of work"
