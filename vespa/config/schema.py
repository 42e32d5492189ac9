"""
The rows of which a table of settings consists. Each field of a settings class carries one.

A settings class is frozen, and `variable` or `option` makes each of its fields. So the class is also the table of its
command: the reader, the command line, `--help` and the documentation all use `rows(Class)`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from vespa.config.values import Number, boolean, text

_DERIVED = "?"
"""A name that follows from the field's own."""
_SHOWN = 80  # characters of a wrong value
HIDDEN = "(hidden)"


@attrs.frozen
class Option:
    """
    One row. A row without `parse` is a switch. A row that is `many` may be given several times; its value is a tuple.

    `default` is text, as a user would write it. If there is no default, it is the value of the field: "" or None.
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
    """Whether `check` applies `parse` to a program's value."""
    attribute: str = ""
    """The field that it fills."""

    def hides(self, value: object) -> bool:
        """Whether nobody is shown this value: it is a secret, or a URL that may hold a password."""
        return self.secret or "@" in str(value)

    def shown(self, value: object) -> str:
        """A value as messages show it, or that it is hidden."""
        if self.hides(value):
            return HIDDEN
        return repr(value if len(str(value)) <= _SHOWN else str(value)[: _SHOWN - 3] + "...")

    @property
    def repeats(self) -> str:
        """How to give several values; "" if there can be only one."""
        return ("may be repeated" if self.flag else "a comma list") if self.many else ""


def variable(parse: Callable[[str], Any], default: str | None, help: str, *, name: str = _DERIVED, **more: Any) -> Any:
    """A field that only the environment sets. Its variable is VESPA_ and the field's name, unless `name` is given."""
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
    """A field that the command line sets, and maybe a variable. Its flag is the field's name unless `flag` is given."""
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
    """The row, completed with the names that follow from its field, and with the unit of its parser."""
    return attrs.evolve(
        row,
        attribute=attribute,
        flag=attribute.replace("_", "-") if row.flag == _DERIVED else row.flag,
        name=f"VESPA_{attribute.upper()}" if row.name == _DERIVED else row.name,
        unit=row.unit or (row.parse.unit if isinstance(row.parse, Number) else ""),
    )


def defaults(schema: type) -> dict[str, Any]:
    """The default of each field."""
    return {field.name: field.default for field in attrs.fields(schema)}


def check(settings: object) -> None:
    """
    Check each value of settings that a program made, and parse text as the command line does.

    Raises ValueError, which names every wrong field. It shows no secret.
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
    """The value as `parse` reads its text. Raises ValueError if that has another type."""
    found = parse(str(value))
    if isinstance(found, str) != isinstance(value, str) or isinstance(found, bool) != isinstance(value, bool):
        raise ValueError(f"must not be of the type {type(value).__name__}")
    return found if isinstance(found, str) else value
