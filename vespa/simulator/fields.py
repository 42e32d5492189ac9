"""Strict JSON objects: exact keys, exact types, finite numbers, and no key twice."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any


class Malformed(Exception):
    """A body that is not what the protocol says; `problems` names each wrong field."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {problem}" for name, problem in problems.items()))
        self.problems = dict(problems)


Check = Callable[[Any], "str | None"]
"""Says what is wrong with a value, or None."""


def whole(value: Any) -> str | None:
    """A whole number."""
    return None if type(value) is int else "not a whole number"


def count(value: Any) -> str | None:
    """A whole number of 0 or more."""
    return None if type(value) is int and value >= 0 else "not a whole number of 0 or more"


def number(value: Any) -> str | None:
    """A finite number."""
    return None if type(value) is int or (type(value) is float and math.isfinite(value)) else "not a number"


def amount(value: Any) -> str | None:
    """A finite number of 0 or more."""
    return None if number(value) is None and value >= 0 else "not a number of 0 or more"


def zero(value: Any) -> str | None:
    """0."""
    return None if number(value) is None and value == 0 else "not 0"


def text(value: Any) -> str | None:
    """A text."""
    return None if type(value) is str else "not a text"


def flag(value: Any) -> str | None:
    """True or false."""
    return None if type(value) is bool else "not true or false"


def wholes(value: Any) -> str | None:
    """A list of whole numbers."""
    return None if type(value) is list and all(type(each) is int for each in value) else "not a list of whole numbers"


def objects(value: Any) -> str | None:
    """A list of objects."""
    return None if type(value) is list and all(type(each) is dict for each in value) else "not a list of objects"


def read_json_object(raw: bytes) -> dict[str, Any]:
    """The JSON object in these bytes. Raises Malformed for anything else, a repeated key and NaN included."""

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(items)
        if len(found) != len(items):
            raise Malformed({"body": "a key stands twice"})
        return found

    def constant(name: str) -> Any:
        raise Malformed({"body": f"{name} is not JSON"})

    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=pairs, parse_constant=constant)
    except ValueError as error:
        raise Malformed({"body": f"not JSON: {error}"}) from None
    if type(value) is not dict:
        raise Malformed({"body": "not an object"})
    return value


def problems_of(value: Mapping[str, Any], fields: Mapping[str, Check], place: str = "") -> dict[str, str]:
    """What is wrong with an object whose keys must be exactly these."""
    problems = {place + name: "missing" for name in fields if name not in value}
    problems.update({place + name: "unknown" for name in value if name not in fields})
    for name, check in fields.items():
        if name in value and (problem := check(value[name])) is not None:
            problems[place + name] = problem
    return problems
