"""
A strict reader of HTTP/1.1 messages, written from RFC 9112 and sharing nothing with the engine under test.

It is a generator that asks for bytes by yielding, so that a message may come in any pieces. What it accepts is what a
careful server would act on without guessing; everything else is `Malformed`. The scripted backend reads with it what
the proxy sends, the client what the proxy answers, and `model` what a client sent.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Generator
from typing import Any

from attrs import define, field

TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([\x21-\x7e]+) HTTP/1\.([01])")
STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9]) ([\t\x20-\x7e\x80-\xff]*)")
# RFC 9112 section 7.1.1, and what a lenient server would pass over.
CHUNK_LINE = re.compile(
    rb"([0-9A-Fa-f]{1,16})((?:[ \t]*;[ \t]*[!#$%&'*+.^_`|~0-9A-Za-z-]+"
    rb"(?:[ \t]*=[ \t]*(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+"
    rb'|"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*"))?)*)'
)
FIELDS_MAX = 128
BIGGEST_LENGTH = 2**63 - 1

Field = tuple[bytes, bytes]
Steps = Generator[None, None, Any]


class Malformed(Exception):
    """The bytes are not an HTTP/1.1 message; `doubtful` where RFC 9112 lets a recipient be lenient."""

    def __init__(self, what: str, *, statuses: tuple[int, ...] = (400,), doubtful: bool = False) -> None:
        super().__init__(what)
        self.statuses = statuses
        self.doubtful = doubtful


class Truncated(Exception):
    """The bytes ended inside a message."""


@define
class Message:
    """A message as far as it has come; `framing` is none, length, chunked or close."""

    version: int
    fields: list[Field] = field(factory=list)
    framing: str = "none"
    length: int = 0
    body: bytearray = field(factory=bytearray)
    chunk_sizes: list[int] = field(factory=list)
    extensions: list[bytes] = field(factory=list)
    trailers: list[Field] = field(factory=list)
    complete: bool = False

    def values(self, name: bytes) -> list[bytes]:
        """Every value of this field (lower-case name), in order."""
        return [value for key, value in self.fields if key.lower() == name]

    def tokens(self, name: bytes) -> list[bytes]:
        """The comma-separated members of all lines of this field, lower-case, without empty ones."""
        members = b",".join(self.values(name)).split(b",")
        return [member.strip(b" \t").lower() for member in members if member.strip(b" \t")]


@define
class Request(Message):
    method: bytes = b""
    target: bytes = b""


@define
class Response(Message):
    status: int = 0
    reason: bytes = b""
    informational: list[Response] = field(factory=list)


class Source:
    """Bytes that have come and were not read yet; `ended` once no more can come."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.ended = False
        # How long a head or a trailer section may be, and how much of that is left while one is read; None: any length.
        self.limit: int | None = None
        self.room: int | None = None

    def more(self) -> Steps:
        if self.ended:
            raise Truncated
        yield

    def line(self) -> Steps:
        """The next line without its CRLF. Fails with `Malformed` on a bare CR, a bare LF, or past `room`."""
        start = 0
        while (at := self.data.find(b"\n", start)) < 0:
            start = len(self.data)
            if self.room is not None and start > self.room:
                raise Malformed("head too long", statuses=(400, 413, 414, 431))
            yield from self.more()
        line = bytes(self.data[: at + 1])
        del self.data[: at + 1]
        if self.room is not None:
            self.room -= len(line)
            if self.room < 0:
                raise Malformed("head too long", statuses=(400, 413, 414, 431))
        if not line.endswith(b"\r\n"):
            raise Malformed("bare LF")
        if b"\r" in line[:-2]:
            raise Malformed("bare CR")
        return line[:-2]

    def some(self, most: int) -> Steps:
        """At least one byte and at most `most`."""
        while not self.data:
            yield from self.more()
        taken = bytes(self.data[:most])
        del self.data[:most]
        return taken


def read_fields(source: Source, names: re.Pattern[bytes]) -> Steps:
    """Header or trailer fields up to the empty line; values without the white space around them."""
    fields: list[Field] = []
    while line := (yield from source.line()):
        name, colon, value = line.partition(b":")
        if not colon:
            raise Malformed("no colon")
        if not names.fullmatch(name):
            raise Malformed("bad field name or folded line")
        value = value.strip(b" \t")
        if not VALUE.fullmatch(value):
            raise Malformed("control character in a field value")
        fields.append((name, value))
    return fields


def set_framing(message: Message) -> None:
    """Decide from the head how a body is delimited (RFC 9112 section 6.3)."""
    codings, lengths = message.values(b"transfer-encoding"), message.values(b"content-length")
    if codings:
        if lengths:
            raise Malformed("Content-Length beside Transfer-Encoding")
        if message.version == 0:
            raise Malformed("Transfer-Encoding in HTTP/1.0")
        if len(codings) != 1 or codings[0].lower() != b"chunked":
            raise Malformed("transfer coding other than one chunked", statuses=(400, 501))
        message.framing = "chunked"
    elif lengths:
        if len(lengths) != 1 or not re.fullmatch(rb"[0-9]+", lengths[0]):
            raise Malformed("bad Content-Length")
        if int(lengths[0]) > BIGGEST_LENGTH:
            raise Malformed("Content-Length too large", statuses=(400, 413))
        message.framing, message.length = "length", int(lengths[0])


def read_chunks(source: Source, message: Message, names: re.Pattern[bytes]) -> Steps:
    """A chunked body with its trailer section (RFC 9112 section 7.1)."""
    while True:
        line = yield from source.line()
        matched = CHUNK_LINE.fullmatch(line)
        if matched is None:
            raise Malformed("bad chunk line", doubtful=bool(re.fullmatch(rb"0{9,}[0-9A-Fa-f]+(;.*)?", line)))
        size = int(matched[1], 16)
        if matched[2]:
            message.extensions.append(matched[2].lstrip(b" \t")[1:])
        if size == 0:
            break
        if size > BIGGEST_LENGTH:
            raise Malformed("chunk too large", statuses=(400, 413))
        message.chunk_sizes.append(size)
        yield from read_exactly(source, message, size)
        if (yield from source.line()):
            raise Malformed("no CRLF after chunk data")
    source.room = source.limit
    message.trailers = yield from read_fields(source, names)


def read_exactly(source: Source, message: Message, size: int) -> Steps:
    while size:
        taken = yield from source.some(size)
        message.body += taken
        size -= len(taken)


def read_body(source: Source, message: Message, names: re.Pattern[bytes] = TOKEN) -> Steps:
    if message.framing == "length":
        yield from read_exactly(source, message, message.length)
    elif message.framing == "chunked":
        yield from read_chunks(source, message, names)
    elif message.framing == "close":
        while source.data or not source.ended:
            message.body += source.data
            source.data.clear()
            if not source.ended:
                yield
    message.complete = True


def read_requests(source: Source, requests: list[Request], head_limit: int | None = None) -> Steps:
    """Requests one after another, until the end of the bytes between two of them."""
    source.limit = head_limit
    while True:
        source.room = head_limit
        while not source.data:
            if source.ended:
                return
            yield
        if source.data[:1] == b"\n" or (source.data[:1] == b"\r" and bytes(source.data[1:2]) not in (b"", b"\n")):
            raise Malformed("a bare line end before a request", doubtful=True)
        if not (line := (yield from source.line())) and not (line := (yield from source.line())):
            raise Malformed("more than one empty line before a request", doubtful=True)
        matched = REQUEST_LINE.fullmatch(line)
        if matched is None:
            doubtful = bool(re.fullmatch(rb"\S+ [\x21-\x7e]+ HTTP/1\.[2-9]", line))
            raise Malformed("bad request line", statuses=(400, 501, 505), doubtful=doubtful)
        request = Request(int(matched[3]), method=matched[1], target=matched[2])
        request.fields = yield from read_fields(source, TOKEN)
        source.room = None
        if head_limit is not None and len(request.fields) > FIELDS_MAX:
            raise Malformed("too many fields", statuses=(431,))
        set_framing(request)
        requests.append(request)
        yield from read_body(source, request)


Asked = tuple[bytes, int]


def read_responses(source: Source, responses: list[Response], asked: deque[Asked]) -> Steps:
    """Responses to what was `asked`, one after another, until the end of the bytes between two of them."""
    informational: list[Response] = []
    while True:
        while not source.data:
            if source.ended:
                return
            yield
        line = yield from source.line()
        matched = STATUS_LINE.fullmatch(line)
        if matched is None:
            raise Malformed(f"bad status line {line[:60]!r}")
        response = Response(int(matched[1]), status=int(matched[2]), reason=matched[3], informational=informational)
        response.fields = yield from read_fields(source, TOKEN)
        framed = response.values(b"content-length") or response.values(b"transfer-encoding")
        if response.status < 200:
            if framed:
                raise Malformed("framing on an informational response")
            response.complete = True
            response.informational = []
            informational.append(response)
            if response.status != 101:
                continue
        method, version = asked.popleft() if asked else (b"GET", 1)
        informational = []
        responses.append(response)
        if response.status == 101:
            response.framing = "close"
        elif response.status == 204 and framed:
            raise Malformed("framing on a 204")
        else:
            response.framing = "close"
            set_framing(response)
            if response.framing == "chunked" and version == 0:
                raise Malformed("chunked to an HTTP/1.0 client")
            if method == b"HEAD" or response.status in (204, 304):
                response.framing = "none"
        yield from read_body(source, response)


class Feed:
    """Drives a reader with bytes as they come; `error` is what stopped it, if anything."""

    def __init__(self, start: Callable[[Source], Steps]) -> None:
        self.source = Source()
        self.error: Exception | None = None
        self.running: Steps | None = start(self.source)

    def feed(self, data: bytes) -> None:
        self.source.data += data
        self._run()

    def end(self) -> None:
        self.source.ended = True
        self._run()

    def _run(self) -> None:
        if self.running is None:
            return
        try:
            next(self.running)
        except StopIteration:
            self.running = None
        except (Malformed, Truncated) as error:
            self.running, self.error = None, error
