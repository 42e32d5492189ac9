"""What three HTTP parsers of other people make of the same bytes, in one shape that can be compared."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
import httptools
from aiohttp.http_parser import HttpRequestParserPy
from attrs import frozen

from .reader import Field


@frozen
class Parsed:
    """One request; field names in lower case, values without the white space around them."""

    method: bytes
    target: bytes
    fields: tuple[Field, ...]
    body: bytes


def fields_of(pairs: Any) -> tuple[Field, ...]:
    return tuple((bytes(name).lower(), bytes(value).strip(b" \t")) for name, value in pairs)


def by_h11(raw: bytes) -> list[Parsed]:
    """Read by h11. Raises its RemoteProtocolError."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(raw)
    found = []
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Request):
            head, body = event, bytearray()
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            found.append(Parsed(head.method, head.target, fields_of(head.headers), bytes(body)))
            connection.send(h11.Response(status_code=200, headers=[(b"content-length", b"0")]))
            connection.send(h11.EndOfMessage())
            if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                break
            connection.start_next_cycle()
        else:
            break
    return found


class Collector:
    """What llhttp calls."""

    def __init__(self) -> None:
        self.parser = httptools.HttpRequestParser(self)
        self.found: list[Parsed] = []

    def on_message_begin(self) -> None:
        self.url, self.body = b"", bytearray()
        self.pairs: list[Field] = []
        self.trailing = False

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.trailing:
            self.pairs.append((name, value))

    def on_headers_complete(self) -> None:
        self.trailing = True

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.found.append(Parsed(self.parser.get_method(), self.url, fields_of(self.pairs), bytes(self.body)))


def by_httptools(raw: bytes) -> list[Parsed]:
    """Read by llhttp. Raises HttpParserError."""
    collector = Collector()
    collector.parser.feed_data(raw)
    return collector.found


class Nobody:
    """The protocol that aiohttp's parser wants to pause and resume."""

    _reading_paused = False

    def pause_reading(self) -> None:
        """Nothing flows."""

    def resume_reading(self, **_: object) -> None:
        """Nothing flows."""


def by_aiohttp(raw: bytes) -> list[Parsed]:
    """Read by aiohttp's parser in Python, which shares nothing with llhttp. Raises its HttpProcessingError."""
    loop = asyncio.new_event_loop()
    try:
        parser = HttpRequestParserPy(
            Nobody(),  # type: ignore[arg-type]
            loop,
            limit=1 << 24,
            max_line_size=1 << 16,
            max_headers=1000,
            max_field_size=1 << 16,
            auto_decompress=False,
        )
        messages, _, _ = parser.feed_data(raw)
        found = []
        for message, payload in messages:
            if (error := payload.exception()) is not None:
                raise error
            if not payload.is_eof():
                continue
            body = b"".join(getattr(payload, "_buffer", ()))
            target = message.path.encode("utf-8", "surrogateescape")
            found.append(Parsed(message.method.encode(), target, fields_of(message.raw_headers), body))
        return found
    finally:
        loop.close()


# Fields of content that aiohttp takes once only; how often they come is between the client and the backend.
REPEATED = ("'Content-Type'", "'User-Agent'", "'ETag'", "'Server'")

READERS = {"h11": by_h11, "httptools": by_httptools, "aiohttp": by_aiohttp}


def by_all(raw: bytes) -> list[Parsed]:
    """The requests in these bytes, on which all three agree. Raises AssertionError where they do not."""
    results = {}
    for name, read in READERS.items():
        try:
            results[name] = read(raw)
        except Exception as error:
            if name == "aiohttp" and "Duplicate" in str(error) and any(field in str(error) for field in REPEATED):
                continue
            raise AssertionError(f"{name} refuses what the backend got: {error!r}\n  {raw!r}") from error
    first = results["h11"]
    for name, result in results.items():
        if result != first:
            raise AssertionError(f"h11 and {name} disagree:\n  {first}\n  {result}\n  {raw!r}")
    return first
