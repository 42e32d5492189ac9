"""The log: one line an event on the process's own standard output, as text or as JSON, without secrets."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from typing import Final, Literal, Protocol, TextIO

from constantly import NamedConstant
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent
from twisted.python.failure import Failure
from zope.interface import implementer

from vespa.runtime.redaction import Redaction
from vespa.runtime.standard_streams import TolerantStream

Format = Literal["text", "json"]

# A control character in a message could start a line of its own, or drive the reader's terminal.
_CONTROL = {code: f"\\x{code:02x}" for code in [*range(32), *range(0x7F, 0xA0)]} | {9: "\t", 10: "\\n", 13: "\\r"}


def chosen_format(setting: str, stream: TextIO | None, *, for_people: bool = False) -> Format:
    """
    The format that a setting (`auto`, `text` or `json`) means for a stream.

    `auto` is text on a terminal, and wherever people read the stream as it is (`for_people`), otherwise JSON.
    """
    if setting == "auto":
        try:
            return "text" if for_people or (stream is not None and stream.isatty()) else "json"
        except ValueError:  # it is closed
            return "json"
    return "json" if setting == "json" else "text"


class Writable(Protocol):
    """What is needed of a stream; it flushes by itself."""

    def write(self, text: str, /) -> int: ...


@implementer(ILogObserver)
class LineObserver:
    """
    Writes events of at least `level` to `stream`; `secrets` are hidden wherever they turn up.

    Of the namespaces in `quiet`, and those below them, it writes only warnings, unless the level is debug. A stream
    that is gone silences the log, and is no error.
    """

    def __init__(
        self,
        stream: TextIO | None,
        level: NamedConstant = LogLevel.info,
        secrets: Sequence[str] = (),
        *,
        format: Format = "text",
        quiet: Iterable[str] = (),
    ) -> None:
        self.stream: Writable = TolerantStream(stream)
        self.format: Final = format
        self.level = level
        self.redaction: Final = Redaction(*secrets)
        self.is_used = False  # whether an event came: twistd may have a log of its own instead
        self._line = self._json_line if format == "json" else self._text_line
        self._quiet = tuple(quiet)
        self._second = -1
        self._second_text = ""

    def hide(self, *secrets: str) -> None:
        """Hide these from now on, too."""
        self.redaction.hide(*secrets)

    def __call__(self, event: LogEvent) -> None:
        self.is_used = True
        level = event.get("log_level") or LogLevel.info
        if level >= self.level:
            namespace = event.get("log_namespace") or "-"
            if namespace == "log_legacy":  # what Twisted calls a message by its older interface
                namespace = "twisted"
            if level >= LogLevel.warn or self.level is LogLevel.debug or not self._is_quiet(namespace):
                self.stream.write(self._line(event, level, namespace))

    def _is_quiet(self, namespace: str) -> bool:
        return any(namespace == quiet or namespace.startswith(f"{quiet}.") for quiet in self._quiet)

    def _text_line(self, event: LogEvent, level: NamedConstant, namespace: str) -> str:
        message = formatEvent(event).translate(_CONTROL)
        line = f"{self.timestamp(event.get('log_time', 0.0))} {level.name} [{namespace}] {message}\n"
        failure = event.get("log_failure")
        if failure is not None:
            line += "".join(f"    {row.translate(_CONTROL)}\n" for row in _traceback(failure).split("\n"))
        return self.redaction.without_secrets(line)

    def _json_line(self, event: LogEvent, level: NamedConstant, namespace: str) -> str:
        clean = self.redaction.without_secrets
        line = {
            "time": self.timestamp(event.get("log_time", 0.0)),
            "level": level.name,
            "namespace": namespace,
            "message": clean(formatEvent(event)),
        }
        failure = event.get("log_failure")
        if failure is not None:
            line["traceback"] = clean(_traceback(failure))
        return json.dumps(line) + "\n"  # in ASCII, whatever the stream's encoding is

    def timestamp(self, at: float) -> str:
        """A time in epoch seconds as RFC 3339 has it, in UTC with milliseconds."""
        second, milliseconds = divmod(round(at * 1000), 1000)
        if second != self._second:
            self._second = second
            self._second_text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._second_text}.{milliseconds:03d}Z"


def level_named(name: str) -> NamedConstant:
    """The level of that name, in any case (`warning` is `warn`); info for a name that is none."""
    name = {"warning": "warn"}.get(name.lower(), name.lower())
    found: NamedConstant = LogLevel.lookupByName(name) if name in LEVELS else LogLevel.info
    return found


LEVELS: Final = tuple(constant.name for constant in LogLevel.iterconstants())


def _traceback(failure: Failure) -> str:
    try:
        return str(failure.getTraceback()).rstrip()
    except Exception:
        return "(a traceback that could not be drawn)"
