"""The log: one line an event on the process's own standard output, without secrets."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import Protocol, TextIO

from constantly import NamedConstant
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent
from twisted.python.failure import Failure
from zope.interface import implementer

from vespa.runtime.standard_streams import TolerantStream

HIDDEN = "[hidden]"
# Secrets are known by value. These are for those that callers send: a parameter of a query, a member of JSON. Neither
# form is one of our sentences, in which "signature: does not match" has to stay.
_NAMES_OF_SECRETS = "serverless_signature|signature|api_key|mtoken|master_token"
_PARAMETER = re.compile(rf"([?&](?:{_NAMES_OF_SECRETS})=)[^\s&\"']+", re.I)
_MEMBER = re.compile(rf"""((["'])(?:{_NAMES_OF_SECRETS})\2\s{{0,8}}:\s{{0,8}}(["']))[^"']+""", re.I)
# A control character in a message could start a line of its own, or drive the reader's terminal.
_CONTROL = {code: f"\\x{code:02x}" for code in [*range(32), *range(0x7F, 0xA0)]} | {9: "\t", 10: "\\n", 13: "\\r"}


class Writable(Protocol):
    """What is needed of a stream; it flushes by itself."""

    def write(self, text: str, /) -> int: ...


@implementer(ILogObserver)
class LineObserver:
    """Writes events of at least `level` to `stream`; `secrets` are hidden wherever they turn up.

    A stream that is gone silences the log, and is no error.
    """

    def __init__(
        self, stream: TextIO | None, level: NamedConstant = LogLevel.info, secrets: Sequence[str] = ()
    ) -> None:
        self.stream: Writable = TolerantStream(stream)
        self._level = level
        self._secrets: tuple[str, ...] = ()
        self.hide(*secrets)
        self._second = -1
        self._second_text = ""

    def hide(self, *secrets: str) -> None:
        """Hide these from now on, too."""
        # A short one would blot out half of the log, and is no secret.
        self._secrets += tuple(secret for secret in secrets if len(secret) >= 6)

    def __call__(self, event: LogEvent) -> None:
        level = event.get("log_level") or LogLevel.info
        if level >= self._level:
            self.stream.write(self._line(event, level))

    def _line(self, event: LogEvent, level: NamedConstant) -> str:
        message = formatEvent(event).translate(_CONTROL)
        namespace = event.get("log_namespace") or "-"
        if namespace == "log_legacy":  # what Twisted calls a message by its older interface
            namespace = "twisted"
        line = f"{self._timestamp(event.get('log_time', 0.0))} {level.name} [{namespace}] {message}\n"
        failure = event.get("log_failure")
        if failure is not None:
            line += _traceback(failure)
        return self._without_secrets(line)

    def _timestamp(self, at: float) -> str:
        second, milliseconds = divmod(round(at * 1000), 1000)
        if second != self._second:
            self._second = second
            self._second_text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._second_text}.{milliseconds:03d}Z"

    def _without_secrets(self, line: str) -> str:
        for secret in self._secrets:
            line = line.replace(secret, HIDDEN)
        if "=" in line:
            line = _PARAMETER.sub(rf"\1{HIDDEN}", line)
        if ":" in line:
            line = _MEMBER.sub(rf"\1{HIDDEN}", line)
        return line


def level_named(name: str) -> NamedConstant:
    """The level of that name, in any case (`warning` is `warn`); info for a name that is none."""
    name = {"warning": "warn"}.get(name.lower(), name.lower())
    found: NamedConstant = LogLevel.lookupByName(name) if name in _NAMES else LogLevel.info
    return found


_NAMES = frozenset(constant.name for constant in LogLevel.iterconstants())


def _traceback(failure: Failure) -> str:
    try:
        text = failure.getTraceback()
    except Exception:
        text = "(a traceback that could not be drawn)"
    return "".join(f"    {line.translate(_CONTROL)}\n" for line in text.rstrip().split("\n"))
