"""Reads the command line and the environment into settings, or raises one error that names every mistake."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

from attrs import field, frozen

from vespa.config.schema import Option, defaults, rows
from vespa.runtime.secret import secret_forms

Schema = TypeVar("Schema")


class SettingsError(Exception):
    """
    The settings have mistakes. `problems` has a line for each, and `hints` has possible causes. No line has a secret.

    `what` names the source of the settings in the first line.
    """

    def __init__(self, problems: Sequence[str], hints: Sequence[str] = (), what: str = "options") -> None:
        self.problems = tuple(problems)
        count = "1 mistake" if len(problems) == 1 else f"{len(problems)} mistakes"
        super().__init__("\n  ".join([f"{count} in the {what}:", *problems, *hints]))


@frozen
class Given:
    """
    The options of a command line. `texts` has the texts of each flag in order; that of a switch is empty.

    `problems` has the mistakes of the line itself, such as an unknown option.
    """

    texts: Mapping[str, Sequence[str]] = field(factory=dict, repr=False)
    problems: tuple[str, ...] = ()


class Reading(Generic[Schema]):
    """
    Reads one settings class. The command line takes precedence over the environment. An empty text counts as not given,
    because templates pass variables on that are not set.

    By field, `values` has the values, `sources` the flag or variable of each value that was given, and `problems` a
    line for each wrong one. A wrong value is replaced by the default, so that the other checks can run. Fields that are
    `fixed` are not read.
    """

    def __init__(
        self, schema: type[Schema], environ: Mapping[str, str], given: Given | None = None, **fixed: Any
    ) -> None:
        self.values: dict[str, Any] = {**defaults(schema), **fixed}
        self.sources: dict[str, str] = {}
        self.problems: dict[str, str] = {}
        self._schema = schema
        self._environ = environ
        self._given = given or Given()
        self._secret: dict[str, None] = {}
        self._rows = {row.attribute: row for row in rows(schema)}
        # A name that contains the worker's port needs the port first.
        for row in sorted(self._rows.values(), key=lambda row: "<" in row.name):
            if row.attribute not in fixed:
                self._read(row)

    @property
    def secrets(self) -> tuple[str, ...]:
        """All secrets that were given, valid or not. No log may show them."""
        return tuple(form for secret in self._secret for form in secret_forms(secret))

    def hide(self, secret: str) -> None:
        """Add a secret."""
        self._secret[secret] = None

    def name(self, attribute: str) -> str:
        """The variable of a field."""
        return self._rows[attribute].name.replace("<port>", str(self.values.get("worker_port")))

    def need(self, attribute: str, why: str) -> None:
        """Add a problem if a field has no value. A wrong value is a problem already."""
        if self.values[attribute] in ("", None, ()) and attribute not in self.problems:
            name = self.name(attribute)
            self.problems[attribute] = f"{name} is {'empty' if name in self._environ else 'not set'}: {why}"

    def wrong(self, attribute: str, why: str) -> None:
        """Add a problem with the value of a field, and show the value."""
        name = self.sources.get(attribute) or self.name(attribute)
        self.problems[attribute] = f"{name}={self._rows[attribute].shown(self.values[attribute])}: {why}"

    def settings(self, hints: Sequence[str] = (), what: str = "options") -> Schema:
        """The settings. Raises SettingsError, which names every mistake in them and in the command line."""
        if self._given.problems or self.problems:
            raise SettingsError([*self._given.problems, *self.problems.values()], hints, what)
        return self._schema(**self.values)

    def _read(self, row: Option) -> None:
        name, texts = self._find(row)
        found, wrong = [], []
        for raw in texts:
            self.sources[row.attribute] = name
            if row.secret:
                self.hide(raw)
            try:
                found.append(True if row.parse is None else row.parse(raw))
            except ValueError as error:
                wrong.append(f"{name}={row.shown(raw)}: {error}")
        if wrong:
            self.problems[row.attribute] = "; ".join(wrong) if row.many else wrong[-1]
        if found:
            self.values[row.attribute] = tuple(found) if row.many else found[-1]

    def _find(self, row: Option) -> tuple[str, Sequence[str]]:
        given = self._given.texts.get(row.flag, ()) if row.flag else ()
        texts = [text for each in given if (text := each.strip()) or row.parse is None]
        if texts:
            return f"--{row.flag}", texts
        names = [self.name(row.attribute), row.fallback]
        for name in filter(None, names):
            if text := self._environ.get(name, "").strip():
                return name, text.replace(",", " ").split() if row.many else [text]
        return names[0], []
