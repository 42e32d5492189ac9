"""
Finds the tokens that a response reports in its bytes as they pass, without holding them back.

Nothing here raises for what a backend sends. Time is linear in the bytes, and memory is bounded: JSON is parsed once,
and of a stream one line is held at most, and parsed if it may be the last that reports tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Final, Protocol

from vespa.protocol.chunked import BadChunk, Chunked, known_sizes
from vespa.worker.usage.counts import Counts, read_counts

LIMIT: Final = 65536
"""The largest body, and the longest line of a stream, that is read, in bytes."""

PARSED_EVERY: Final = 32
"""Of the reads with tokens that are generated so far, one in so many is parsed at once."""

FINALS_MAX: Final = 4
"""So many lines that look like the last are parsed at once. A stream has one; more would be a way to make it slow."""

_TOKENS: Final = b'_tokens"'
_PREDICTED: Final = b"predicted"
_EVAL_COUNT: Final = b'"eval_count"'
_MARKS: Final = (_TOKENS, b'predicted_n"', b'"tokens_predicted"', _EVAL_COUNT)
"""What a line has that reports tokens. The text in it does not contain them: a JSON string escapes its quotes."""
_ENDS: Final = (b"data: [DONE]", b"data:[DONE]")
_END_LENGTH: Final = 32
"""The longest chunk, with its framing, that may hold nothing but the event at the end of OpenAI's streams."""


class Form(Enum):
    """How a response's body has its JSON."""

    WHOLE = 0  # one JSON text
    EVENTS = 1  # server-sent events
    LINES = 2  # one JSON text a line


class UsageListener(Protocol):
    """What wants to know of the tokens of one response."""

    def progress(self, counts: Counts) -> None:
        """The backend has generated so many tokens. They may be fewer than before. `final`: no more follow."""

    def ended(self, counts: Counts | None) -> None:
        """The response is complete, and these are its tokens; None: it reports none that can be used."""


class UsageReader:
    """
    Reads one response, as a `proxy.interfaces.ResponseReader`. `chunked`: the bytes have the chunked coding.

    `ended` gets the same however the bytes were split. `progress` is called for a stream only.
    """

    def __init__(self, form: Form, chunked: bool, listener: UsageListener) -> None:
        self._form = form
        self._listener = listener
        self._decoder = Chunked() if chunked else None
        self._usual = form is not Form.WHOLE  # a line begins next, and a chunk
        self._line = bytearray()  # a line that has begun, or all of a body that is no stream
        self._over = False  # that is too long, and its rest is left out
        self._first: Counts | None = None  # of the first line with tokens, which may report the prompt's
        self._last: bytes | None = None  # the newest line with tokens, if it was not parsed
        self._counts: Counts | None = None  # of the newest one, if it was
        self._looks = self._finals = 0
        self._done = False

    @property
    def held_bytes(self) -> int:
        """The bytes that are kept."""
        return len(self._line) + len(self._last or b"")

    def read(self, data: bytes) -> None:
        """The next bytes of the body."""
        decoder = self._decoder
        if self._usual:
            # The usual read of a stream is one chunk with whole lines, or without chunks whole lines.
            if decoder is None:
                if data[-1:] == b"\n":
                    self._look(data)
                    return
            elif data[-3:] == b"\n\r\n":
                end = data.find(b"\r\n")
                if known_sizes.get(data[:end]) == len(data) - end - 4 > 0:
                    find = data.find  # faster than `in`
                    if find(_TOKENS) + find(_PREDICTED) + find(_EVAL_COUNT) > -3 or len(data) < _END_LENGTH:
                        self._look(data[end + 2 : -2])
                    return
        if decoder is None:
            self._take(data)
            self._usual = not self._line and not self._over and self._form is not Form.WHOLE
            return
        pieces: list[bytes] = []
        try:
            decoder.feed(data, pieces)
        except BadChunk:
            return  # the connection ends such a response
        self._take(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        self._usual = decoder.between_chunks and not self._line and not self._over and self._form is not Form.WHOLE

    def end(self) -> bool:
        """The response is complete. Returns False: the backend does no more for it."""
        if self._form is Form.WHOLE:
            counts = None if self._over else read_counts(bytes(self._line))
        else:
            if self._line:
                self._look(bytes(self._line))
            counts = self._newest()
            if counts is not None and not counts.generated:
                counts = None
        self.lost()
        self._listener.ended(counts)
        return False

    def lost(self) -> None:
        """The response broke, or its caller left: there is nothing to count."""
        self._line.clear()
        self._last = None

    def _take(self, data: bytes) -> None:
        """The next bytes of the content."""
        line = self._line
        if self._form is not Form.WHOLE:
            end = data.rfind(b"\n") + 1
            if end:
                if line or self._over:
                    begun = data.find(b"\n") + 1
                    self._add(data[:begun])
                    if line:
                        self._look(bytes(line))
                    line.clear()
                    self._over = False
                    if begun < end:
                        self._look(data[begun:end])
                else:
                    self._look(data[:end])
                data = data[end:]
        if data:
            self._add(data)

    def _add(self, data: bytes) -> None:
        """More of a line, or of the whole body."""
        if self._over:
            return
        if len(self._line) + len(data) > LIMIT:
            self._over = True
            self._line.clear()
        else:
            self._line += data

    def _look(self, lines: bytes) -> None:
        """Look at whole lines."""
        find = lines.find
        if find(_TOKENS) + find(_PREDICTED) + find(_EVAL_COUNT) > -3:
            line = self._last_line(lines)
            if line is not None:
                if not self._looks:
                    self._first = read_counts(self._first_line(lines) or line)
                self._looks += 1
                self._last = line
                self._look_at(line)
        if not self._done and self._form is Form.EVENTS and find(b"[DONE]") >= 0 and _has_end(lines):
            self._done = True
            counts = self._newest() or Counts(0, 0)
            self._listener.progress(Counts(counts.generated, counts.prompt, final=True))

    def _look_at(self, line: bytes) -> None:
        """Parse the newest line, if it is its turn or it may be the last, and tell of it."""
        if self._looks % PARSED_EVERY != 1:
            if self._finals >= FINALS_MAX or _is_unfinished(line.find):
                return
            self._finals += 1
        counts = self._newest()
        if counts is not None:
            self._listener.progress(counts)

    def _newest(self) -> Counts | None:
        """What the newest line reports, with the prompt's tokens of the first if it reports none."""
        if self._last is not None:
            counts, first = read_counts(self._last), self._first
            if counts is not None and first is not None and not counts.prompt:
                counts = Counts(counts.generated, first.prompt, counts.final)
            self._counts, self._last = counts, None
        return self._counts

    def _last_line(self, lines: bytes) -> bytes | None:
        """The last line with tokens."""
        find = lines.rfind
        places = [find(mark) for mark in _MARKS]
        while (at := max(places)) >= 0:
            start = find(b"\n", 0, at) + 1
            line = self._content(lines, start, at)
            if line is not None:
                return line
            # A mark is looked for again only where it was in this line: otherwise the time would be quadratic.
            places = [place if place < start else find(_MARKS[i], 0, start) for i, place in enumerate(places)]
        return None

    def _first_line(self, lines: bytes) -> bytes | None:
        """The first line with tokens."""
        find, none = lines.find, len(lines)
        places = [find(mark) % (none + 1) for mark in _MARKS]  # -1 becomes `none`
        while (at := min(places)) < none:
            line = self._content(lines, lines.rfind(b"\n", 0, at) + 1, at)
            if line is not None:
                return line
            end = find(b"\n", at) % (none + 1)
            places = [place if place > end else find(_MARKS[i], end) % (none + 1) for i, place in enumerate(places)]
        return None

    def _content(self, lines: bytes, start: int, at: int) -> bytes | None:
        """The JSON in the line that begins at `start` and goes beyond `at`; None if it is not to be read."""
        end = lines.find(b"\n", at)
        end = len(lines) if end < 0 else end
        if end - start >= LIMIT:
            return None
        if self._form is Form.LINES:
            return lines[start:end]
        return lines[start + 5 : end] if lines.startswith(b"data:", start) else None


def _is_unfinished(find: Callable[[bytes], int]) -> bool:
    """Whether a line reports the tokens so far; `find` looks for bytes in it."""
    return find(b'"choices":[{') >= 0 or find(b'"choices": [{') >= 0 or find(b'"stop":false') >= 0


def _has_end(lines: bytes) -> bool:
    """Whether one of the lines is the event at the end of OpenAI's streams."""
    places = [lines.rfind(end) for end in _ENDS]
    return any(at == 0 or (at > 0 and lines[at - 1 : at] == b"\n") for at in places)
