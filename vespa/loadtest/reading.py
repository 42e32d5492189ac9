"""Reads a response as it comes: server-sent events, lines of JSON, or a whole document."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from vespa.loadtest.events import error_of_event, error_of_response, is_last, pieces_of, text_of, tokens_of

KEPT: Final = 1 << 20  # the maximum size of a line, or of a whole response, that is parsed

_decode = msgspec.json.Decoder().decode
# Deep nesting exhausts the stack.
_NOT_JSON = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class Reader:
    """
    Takes a response's bytes as they come. `tokens` is the number of generated tokens that the backend reports,
    `input_tokens` that of the prompt, None if it does not. `error` is "" as long as there is none.
    """

    is_stream = False

    def __init__(self) -> None:
        self.tokens: int | None = None
        self.input_tokens: int | None = None
        self.error = ""
        self._rest = bytearray()

    @property
    def held_bytes(self) -> int:
        """The number of bytes that are kept until more come."""
        return len(self._rest)

    def feed(self, data: bytes) -> int:
        """Read on. Returns the number of pieces of generated text that these bytes complete."""
        if len(self._rest) <= KEPT:  # more than that is dropped, and the rest is then not valid JSON
            self._rest += data
        return 0

    def end(self) -> str:
        """The response's bytes have ended normally. Returns what is missing nevertheless, or ""."""
        return ""

    def _take_counts(self, value: dict[str, Any]) -> None:
        tokens, input_tokens = tokens_of(value)
        if tokens is not None:
            self.tokens = tokens
        if input_tokens is not None:
            self.input_tokens = input_tokens


def reader_for(content_type: str) -> Reader:
    """The reader for a content type."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "text/event-stream":
        return Events()
    if kind in ("application/x-ndjson", "application/jsonlines", "application/jsonl"):
        return Events(framed=False)
    return Whole(kind.endswith("json"))


class Events(Reader):
    """A stream of events, each a line `data: …`. Unless `framed`, every line is an event."""

    is_stream = True

    def __init__(self, framed: bool = True) -> None:
        super().__init__()
        self._framed = framed
        self._name = ""
        self._spoke_openai = False
        self._last = False

    def feed(self, data: bytes) -> int:
        if b"\n" not in data:
            return super().feed(data)
        if self._rest:
            data = bytes(self._rest) + data
            self._rest.clear()
        lines = data.split(b"\n")
        super().feed(lines.pop())
        pieces = 0
        for line in lines:
            if not line or line == b"\r":
                self._name = ""
            elif not self._framed:
                pieces += self._event(line)
            elif line.startswith(b"data:"):
                pieces += self._event(line[5:])
            elif line.startswith(b"event:"):
                self._name = line[6:].strip().decode("latin-1")
        return pieces

    def end(self) -> str:
        self.feed(b"\n")
        return "the stream ended without its last event" if self._spoke_openai and not self._last else ""

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
        if type(value) is not dict:
            if self._name == "error":
                self.error = self.error or text_of(value)
            return 0
        self._take_counts(value)
        self.error = self.error or error_of_event(value, self._name)
        self._spoke_openai = self._spoke_openai or "choices" in value
        self._last = self._last or is_last(value)
        return pieces_of(value)


class Whole(Reader):
    """A response that is parsed when it is complete, if it is JSON and not too long."""

    def __init__(self, is_json: bool) -> None:
        super().__init__()
        self._is_json = is_json

    def feed(self, data: bytes) -> int:
        return super().feed(data) if self._is_json else 0

    def end(self) -> str:
        try:
            value = _decode(self._rest) if len(self._rest) <= KEPT else None
        except _NOT_JSON:
            return ""
        if type(value) is list and len(value) == 1:
            value = value[0]
        if type(value) is dict:
            self._take_counts(value)
            self.error = error_of_response(value)
        return ""
