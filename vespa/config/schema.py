"""
What can be set, as rows: each field of a settings class carries its own.

A class of settings is frozen, and its fields are made by `variable` or by `option`. So the class is the one table of
its command: reader, command line, `--help` and documentation are made from `rows(Class)`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from vespa.config.values import Number, boolean, text

_DERIVED = "?"
"""A name that follows from the field's own."""
_SHOWN = 80  # characters of a wrong value


@attrs.frozen
class Option:
    """
    One row. A row without `parse` is a switch; what is `many` may be given again and again, and is a tuple.

    `default` is text as a user would write it; where there is none, it is what the field then holds: "" or None.
    """

    parse: Callable[[str], Any] | None
    default: str | None
    help: str
    flag: str = ""
    """Its name on the command line, without dashes; "": it has none."""
    short: str = ""
    """The same as one letter."""
    name: str = ""
    """Its variable in the environment; "": it has none."""
    fallback: str = ""
    """The variable's older name."""
    unit: str = ""
    section: str = ""
    secret: bool = False
    many: bool = False
    checked: bool = True
    """Whether a program's value has to be what a command line may say."""
    attribute: str = ""
    """The field that it fills."""

    def shown(self, value: object) -> str:
        """A value as a message may show it: no secret, and no address that may have a password in it."""
        if self.secret or "@" in str(value):
            return "(hidden)"
        return repr(value if len(str(value)) <= _SHOWN else str(value)[: _SHOWN - 3] + "...")

    @property
    def repeats(self) -> str:
        """How several are given; "" where it is one."""
        return ("may be repeated" if self.flag else "a comma list") if self.many else ""


def variable(parse: Callable[[str], Any], default: str | None, help: str, *, name: str = _DERIVED, **more: Any) -> Any:
    """A field that the environment alone sets: by VESPA_ and the field's name, unless another is named."""
    return _field(Option(parse, default, help, name=name, **more))


def option(
    parse: Callable[[str], Any] | None,
    default: str | None,
    help: str,
    variable: str = "",
    *,
    flag: str = _DERIVED,
    **more: Any,
) -> Any:
    """A field that the command line sets, by the field's name unless another is named, and maybe a variable."""
    return _field(Option(parse, default, help, flag=flag, name=variable, **more))


def _field(row: Option) -> Any:
    value: Any
    if row.parse is None:
        value = False
    elif row.many:
        value = tuple(row.parse(each) for each in (row.default or "").split())
    else:
        value = row.parse(row.default) if row.default else row.default
    return attrs.field(default=value, repr=not row.secret, metadata={"option": row})


def rows(schema: type) -> tuple[Option, ...]:
    """The rows of a class of settings, in the order of the documentation."""
    return tuple(_named(field.metadata["option"], field.name) for field in attrs.fields(schema))


def _named(row: Option, attribute: str) -> Option:
    """The row with all that follows from its field's name and from its parser."""
    return attrs.evolve(
        row,
        attribute=attribute,
        flag=attribute.replace("_", "-") if row.flag == _DERIVED else row.flag,
        name=f"VESPA_{attribute.upper()}" if row.name == _DERIVED else row.name,
        unit=row.unit or (row.parse.unit if isinstance(row.parse, Number) else ""),
    )


def defaults(schema: type) -> dict[str, Any]:
    """The value of each field where nothing is given."""
    return {field.name: field.default for field in attrs.fields(schema)}


def check(settings: object) -> None:
    """
    Have each value of new settings checked by its row, and text replaced by what a command line would make of it.

    For settings that programs make. Raises ValueError, which names every field that is wrong, and shows no secret.
    """
    problems = []
    known = defaults(type(settings))
    for row in rows(type(settings)):
        value = getattr(settings, row.attribute)
        if value == known[row.attribute] and type(value) is type(known[row.attribute]):
            continue
        try:
            object.__setattr__(settings, row.attribute, _checked(row, value))
        except ValueError as error:
            problems.append(f"{row.attribute}={row.shown(value)}: {error}")
    if problems:
        raise ValueError("; ".join(problems))


def _checked(row: Option, value: object) -> object:
    parse = boolean if row.parse is None else row.parse if row.checked else text
    if not row.many:
        return _read(parse, value)
    if not isinstance(value, list | tuple):
        raise ValueError("must be a tuple")
    return tuple(_read(parse, each) for each in value)


def _read(parse: Callable[[str], Any], value: object) -> object:
    """What `parse` makes of the value as text, where that is of the value's own kind."""
    found = parse(str(value)) if value != "" else ""
    if isinstance(found, str) != isinstance(value, str) or isinstance(found, bool) != isinstance(value, bool):
        raise ValueError(f"must not be of the type {type(value).__name__}")
    return found if isinstance(found, str) else value
