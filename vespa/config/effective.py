"""The settings that are in effect, as rows for people, without secrets."""

from __future__ import annotations

from typing import Any, Final

from vespa.config.schema import HIDDEN, Option, defaults, rows
from vespa.protocol.urls import BaseURL

VALUE_MAX: Final = 200
"""The maximum length of a value, in characters."""


def effective(settings: object) -> list[dict[str, Any]]:
    """
    One row for each setting, in the order of the documentation.

    `name` is that of its variable, or of its option with two dashes; `section` and `unit` may be "". `value` is "" if
    it is not set. `is_default` tells whether the value is the default.
    """
    known = defaults(type(settings))
    return [_row(row, getattr(settings, row.attribute), known[row.attribute]) for row in rows(type(settings))]


def _row(row: Option, value: object, default: object) -> dict[str, Any]:
    return {
        "name": row.name or (f"--{row.flag}" if row.flag else row.attribute),
        "section": row.section,
        "value": _text(row, value),
        "unit": row.unit,
        "is_default": value == default,
    }


def _text(row: Option, value: object) -> str:
    if value is None or value == "" or value == ():
        return ""
    if row.hides(value):
        return HIDDEN
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, BaseURL):
        return value.url
    if isinstance(value, float):
        return f"{value:g}"
    text = ", ".join(_text(row, each) for each in value) if isinstance(value, tuple) else str(value)
    return text if len(text) <= VALUE_MAX else text[: VALUE_MAX - 1] + "…"
