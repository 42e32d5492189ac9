"""
The parser of a command line and its `--help`, both made from the command's rows.

argparse and getopt do not fit: they show values in their messages, which may be keys, and stop at the first mistake.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from textwrap import wrap

from attrs import frozen
from twisted.python import usage

from vespa import __version__
from vespa.config.names import did_you_mean
from vespa.config.reader import Given
from vespa.config.schema import Option

_WIDTH = 100
_NAMES = 30  # columns of the names in the help


@frozen
class CommandLine:
    """
    A command with its options and variables. `command` is how it is typed.

    `operand` is the flag of the option whose value may stand alone, once; "": there is none.
    """

    command: str
    description: str
    rows: tuple[Option, ...] = ()
    operand: str = ""

    def parse(self, argv: Sequence[str]) -> Given:
        """
        Parse `--flag=TEXT`, `--flag TEXT`, `-fTEXT`, `-f=TEXT`, `-f TEXT`, and switches.

        The result has the mistakes, which show no value. Raises SystemExit after printing --help or --version.
        """
        known = {name: row for row in self.rows for name in _names(row)}
        texts: dict[str, list[str]] = {}
        problems: dict[str, None] = {}
        rest = deque(argv)
        while rest:
            argument = rest.popleft()
            if argument in ("--help", "-h", "--version"):
                print(f"vespa-proxy {__version__}" if argument == "--version" else self.help())
                raise SystemExit(0)
            name, has_text, text = argument.partition("=")
            if not argument.startswith("--"):
                name, has_text, text = argument[:2], argument[2:], argument[2:].removeprefix("=")
            row = known.get(name)
            if row is None and name.startswith("-") and name != "-":
                problems[
                    f"option {name} not recognized{did_you_mean(name, known) if known else self._no_options()}"
                ] = None
                if rest and not has_text and not rest[0].startswith("-"):
                    rest.popleft()  # its value, most likely
            elif row is None and self.operand and self.operand not in texts:
                texts[self.operand] = [argument]
            elif row is None:
                problems["an argument belongs to no option; it is not shown because it may be a key"] = None
            elif row.parse is None and has_text:
                problems[f"{name} takes no value"] = None
            elif row.parse is not None and not has_text and (not rest or rest[0].startswith("--")):
                problems[f"{name} needs a value"] = None
            else:
                if row.parse is not None and not has_text:
                    text = rest.popleft()
                texts.setdefault(row.flag, []).append(text)
        return Given(texts, tuple(problems))

    def _no_options(self) -> str:
        """What to do instead, for a command without options."""
        settings = any(row.name for row in self.rows)
        return f": {self.command} has no options" + (", its settings are environment variables" if settings else "")

    def help(self) -> str:
        """The text of --help: each option and variable, with its default and unit."""
        operand = f" [{self.operand.upper()}]" if self.operand else ""
        lines = [f"Usage: {self.command}{' [options]' if any(row.flag for row in self.rows) else ''}{operand}", ""]
        lines += wrap(self.description, _WIDTH)
        for section, rows in groupby(filter(_is_shown, self.rows), key=lambda row: row.section):
            lines += ["", f"{section.replace('`', '') or 'Options'}:"]
            for row in rows:
                lines += _described(row)
        return "\n".join(lines)


def _is_shown(row: Option) -> bool:
    return bool(row.flag or row.name)


def _names(row: Option) -> list[str]:
    """The option's forms on the command line."""
    return ([f"-{row.short}"] if row.short else []) + ([f"--{row.flag}"] if row.flag else [])


def _described(row: Option) -> Iterator[str]:
    variables = " or ".join(filter(None, (row.name, row.fallback)))
    names = ", ".join(_names(row)) or variables
    if row.flag and row.parse is not None:
        names += f" {(row.unit or 'value').upper()}"
    default = f"default: {row.default} {row.unit}".strip() if row.default else "" if row.flag else row.unit
    more = [each for each in (row.repeats, default, variables if row.flag else "") if each]
    text = row.help.replace("`", "") + (f" [{'; '.join(more)}]" if more else "")
    first, *others = wrap(text, _WIDTH - _NAMES)
    if len(names) > _NAMES - 4:
        yield f"  {names}"
        names = ""
    yield f"  {names:{_NAMES - 2}}{first}"
    yield from (" " * _NAMES + line for line in others)


class TwistdOptions(usage.Options):
    """A plugin's options for twistd. A subclass sets `line`, and reads `given` in postOptions."""

    line: CommandLine
    given: Given

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        """`environ` is the environment; by default that of this process."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.environ = os.environ if environ is None else environ

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """twistd calls this with the arguments after the plugin's name."""
        self.given = self.line.parse(options or ())
        self.postOptions()  # type: ignore[no-untyped-call]

    def __str__(self) -> str:
        return self.line.help()
