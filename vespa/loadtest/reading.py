"""Reading a response as it comes: server-sent events, lines of JSON, or a whole document."""

from __future__ import annotations

from typing import Final, Protocol

import msgspec

from vespa.loadtest.events import of_answer, of_event

KEPT: Final = 1 << 20
"""The most bytes of a line, or of a whole response, that are looked at."""

_decode = msgspec.json.Decoder().decode
# Deep nesting exhausts the stack.
_NOT_JSON = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class Reader(Protocol):
    """
    Takes a response's bytes. `tokens` is what the backend counts itself, None where it does not tell; `error` is "" as
    long as there is none.
    """

    is_stream: bool
    tokens: int | None
    error: str

    def feed(self, data: bytes) -> int:
        """Read on; gives how many pieces of generated text the bytes complete."""

    def end(self) -> str:
        """The response's bytes ended in order; gives what is missing all the same, or ""."""


def reader_for(content_type: str) -> Reader:
    """The reader for a content type."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "text/event-stream":
        return Events()
    if kind in ("application/x-ndjson", "application/jsonlines", "application/jsonl"):
        return Events(framed=False)
    return Whole(kind.endswith("json"))


class Events:
    """A stream of events, each a line `data: …`; unless `framed` every line is one."""

    is_stream = True

    def __init__(self, framed: bool = True) -> None:
        self.tokens: int | None = None
        self.error = ""
        self._framed = framed
        self._rest: list[bytes] = []
        self._kept = 0
        self._name = ""
        self._spoke_openai = False
        self._last = False

    @property
    def held_bytes(self) -> int:
        """What is kept of a line that has not ended."""
        return sum(map(len, self._rest))

    def feed(self, data: bytes) -> int:
        if b"\n" not in data:
            self._keep(data)
            return 0
        if self._rest:
            data = b"".join((*self._rest, data))
            self._rest.clear()
            self._kept = 0
        lines = data.split(b"\n")
        if rest := lines.pop():
            self._keep(rest)
        pieces = 0
        for line in lines:
            if line and line != b"\r":
                pieces += self._line(line)
            else:
                self._name = ""
        return pieces

    def end(self) -> str:
        if self._rest:
            self.feed(b"\n")
        return "the stream ended before it said that it was over" if self._spoke_openai and not self._last else ""

    def _keep(self, data: bytes) -> None:
        if self._kept <= KEPT:  # the rest of a longer line is dropped, and what is left of it is no JSON
            self._rest.append(data)
            self._kept += len(data)

    def _line(self, line: bytes) -> int:
        if not self._framed:
            return self._event(line)
        if line.startswith(b"data:"):
            return self._event(line[5:])
        if line.startswith(b"event:"):
            self._name = line[6:].strip().decode("latin-1")
        return 0

    def _event(self, data: bytes) -> int:
        try:
            value = _decode(data)
        except _NOT_JSON:
            value = data.strip().decode("utf-8", "replace")
            if value == "[DONE]":
                self._last = True
                return 0
            if self._name != "error":
                return 1 if value and self._framed else 0
        said = of_event(value, self._name)
        if type(value) is dict and "choices" in value:
            self._spoke_openai = True
        if said.tokens is not None:
            self.tokens = said.tokens
        if said.error and not self.error:
            self.error = said.error
        if said.last:
            self._last = True
        return said.pieces


class Whole:
    """A response that is read when all of it is there, where it is JSON and not too long."""

    is_stream = False

    def __init__(self, is_json: bool) -> None:
        self.tokens: int | None = None
        self.error = ""
        self._parts: list[bytes] | None = [] if is_json else None
        self._kept = 0

    def feed(self, data: bytes) -> int:
        if self._parts is not None:
            self._parts.append(data)
            self._kept += len(data)
            if self._kept > KEPT:
                self._parts = None
        return 0

    def end(self) -> str:
        if self._parts is not None:
            try:
                said = of_answer(_decode(b"".join(self._parts)))
            except _NOT_JSON:
                return ""
            self.tokens, self.error = said.tokens, said.error
        return ""


_checks: tuple[type[Reader], ...] = (Events, Whole)
