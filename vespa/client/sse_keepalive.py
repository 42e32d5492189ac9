"""An answer that begins before there is one: comments in an event stream, while a worker is looked for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Final

from twisted.logger import Logger

from vespa.client.content_decoding import ContentDecoder
from vespa.http.server_connection import ServerConnection
from vespa.http.server_request import STREAM, ServerRequest
from vespa.protocol.refusal import Refusal

PING_AFTER_SECONDS: Final = 2.0
"""A wait this long is told; the callers whose wait is shorter get the worker's own status and fields."""

_FIELDS: Final = b"Content-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
_ERROR_MAX: Final = 65536
"""The most bytes of a worker's error that are kept, decoded and parsed to become an event."""


class SSEKeepalive(ServerRequest):
    """
    A request that may be told how long it waits, before anybody answers it.

    From the first such comment on, the answer is a 200 and an event stream. The content of a worker's 2xx follows,
    whatever its type, without its content coding, which can be declared no more. What else comes of the request becomes
    an `error` event, in the shape that OpenAI's and Anthropic's libraries raise from.
    """

    log = Logger()

    _pinged = False
    _follows = False  # a worker's content, after the comments
    _decoder: ContentDecoder | None = None
    _error: list[bytes] | None = None  # a worker's error, as it comes
    _error_size = 0
    _error_status = 0
    _broken = False  # what comes of the worker's content is no use any more

    def __init__(self, request: ServerRequest) -> None:
        """`request` is the one that the channel knows."""
        self._inner = request
        self.head = request.head
        self.keep_alive = request.keep_alive
        self.own_lines = request.own_lines

    @property
    def channel(self) -> ServerConnection | None:
        """The channel, as long as the caller is there."""
        return self._inner.channel

    @channel.setter
    def channel(self, channel: ServerConnection | None) -> None:
        self._inner.channel = channel

    @property
    def unframed(self) -> bool:
        """Always: the comments are framed here, and so is what follows them."""
        return True

    def ping(self, status: str, seconds: float) -> None:
        """Say that the search goes on."""
        if seconds < PING_AFTER_SECONDS or self.channel is None or (self.started and not self._pinged):
            return
        if not self._pinged:
            self.send_continue()  # once an answer has begun, nobody can be told to send the body
            super().start(200, _FIELDS, STREAM)
            self._pinged = self._inner.started = True
            self._inner.keep_alive = self.keep_alive
        super().write(f": waiting for a worker, {seconds:.0f} s: {status}\n\n".encode())

    def start(self, status: int, block: bytes, framing: int, length: int | None = None, *, dated: bool = False) -> None:
        if not self._pinged:
            super().start(status, block, framing, length, dated=dated)
            self._inner.started = True
            self._inner.keep_alive = self.keep_alive
            return
        coding = _coding(block)
        self._decoder = ContentDecoder(coding) if coding else None
        if 200 <= status < 300:
            self._follows = True
        else:
            self._error = []
            self._error_status = status

    def check_coding(self, lines: Iterable[bytes]) -> None:
        """Raises ValueError where a response with these field lines has a content coding that cannot be undone."""
        if self._pinged and (coding := _coding_in(lines)):
            ContentDecoder(coding)

    def write(self, data: bytes) -> None:
        if self._broken:
            return
        if self._decoder is not None:
            try:
                data = self._decoder.decode(data)
            except ValueError as error:
                self._break_off(error)
                return
        if self._error is None:
            super().write(data)
        elif self._error_size < _ERROR_MAX:
            data = data[: _ERROR_MAX - self._error_size]
            self._error.append(data)
            self._error_size += len(data)

    def sink(self) -> Callable[[bytes], None] | None:
        return None if self._pinged else super().sink()

    def flush(self) -> None:
        if not self._pinged:
            super().flush()

    def finish(self) -> None:
        if self._decoder is not None and not self._broken:
            try:
                self._decoder.finish()
            except ValueError as error:
                self._break_off(error)
        if self._broken:
            self.abort()
            return
        if self._error is not None:
            body, self._error = b"".join(self._error), None
            super().write(_event(self._error_status, body))
        super().finish()

    def refuse(self, refusal: Refusal) -> None:
        if self._pinged and not self._follows and self._error is None:
            super().write(_event(refusal.status, refusal.body()))
            super().finish()
        else:
            super().refuse(refusal)

    def _break_off(self, why: ValueError) -> None:
        """The content cannot be decoded: an error is told without its text, anything else is seen to be cut."""
        if self._error is not None:
            self._decoder = None
            self._error, self._error_size = [], _ERROR_MAX
            return
        self.log.warn("a worker's answer is cut: {why}", why=str(why))
        self._broken = True
        if self.channel is not None:
            # The worker may go on for ever: the exchange has to hear of it, though not within a read of its upstream's.
            self.channel.server.clock.callLater(0, self._leave)

    def _leave(self) -> None:
        if self.channel is not None:
            self.channel.cut()


def _coding(block: bytes) -> bytes:
    return _coding_in(block.split(b"\r\n"))


def _coding_in(lines: Iterable[bytes]) -> bytes:
    """The Content-Encoding's value, of all its lines."""
    found = []
    for line in lines:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-encoding":
            found.append(value.strip(b" \t"))
    return b", ".join(found)


def _event(status: int, body: bytes) -> bytes:
    """A worker's error, or one of ours, as the last event of a stream."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        said = None
    error = said.get("error") if isinstance(said, dict) else None
    if not isinstance(error, dict):
        text = error if isinstance(error, str) else body[:4096].decode("utf-8", "replace")
        error = {"message": text or f"the worker answered {status}"}
    error = {"type": "upstream_error", "status": status, **error}
    return b"event: error\ndata: %b\n\n" % json.dumps({"type": "error", "error": error}).encode("ascii")
