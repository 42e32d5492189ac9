"""Checks of a JSON body that passes without parsing."""

from __future__ import annotations

from typing import Final

from vespa.protocol.refusal import Refusal
from vespa.vast.json_scanner import Malformed, Scanner

_SPACE: Final = b" \t\r\n"
_SPACES: Final = frozenset((b" ", b"\t", b"\r", b"\n"))


class OneValue:
    """Checks a body that passes without parsing: it must be one JSON value with only white space around it."""

    def __init__(self) -> None:
        self._scanner = Scanner()
        self._begun = self._ended = False

    def feed(self, data: bytes) -> None:
        """Check more of the body. Raises `Refusal`."""
        at = 0
        if not self._begun:
            at = len(data) - len(data.lstrip(_SPACE))
            self._begun = at < len(data)
        if self._begun and not self._ended:
            try:
                at = self._scanner.feed(data, at)
            except Malformed:
                raise _not_json() from None
            self._ended = at >= 0
        if self._ended and data[at:].strip(_SPACE):
            raise _not_json()

    def finish(self) -> None:
        """The body is complete. Raises `Refusal`."""
        if not self._ended:
            self.feed(b"\n")  # a number ends only when another byte follows
        if not self._ended:
            raise _not_json()


def has_space_around(body: bytes) -> bool:
    """Whether there is white space before or after the JSON value."""
    return body[:1] in _SPACES or body[-1:] in _SPACES


def _not_json() -> Refusal:
    return Refusal(422, "invalid_json", "the body is not one JSON value, although its Content-Type says so")
