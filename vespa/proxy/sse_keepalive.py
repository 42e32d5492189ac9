"""A response that begins early: comments in an event stream while the request waits."""

from __future__ import annotations

import re
from typing import Final

from twisted.logger import Logger

from vespa.http.interfaces import RequestHandler
from vespa.http.response_writer import STREAM
from vespa.http.server_connection import ServerConnection
from vespa.protocol.content import content_coding
from vespa.protocol.refusal import Refusal
from vespa.protocol.response_head import ResponseHead
from vespa.proxy.content_decoding import ContentDecoder
from vespa.proxy.interfaces import EarlyResponse
from vespa.proxy.stream_error import error_event, is_event_stream

PING_AFTER_SECONDS: Final = 2.0
"""Comments begin after so long. Callers that wait for less get the upstream's own status and fields."""

_FIELDS: Final = b"Content-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
_ACCEPT_ENCODING: Final = re.compile(rb"^Accept-Encoding:[^\r\n]*\r\n", re.I | re.M)
_ERROR_MAX: Final = 65536
"""The maximum number of bytes of an upstream's error that are kept, decoded and parsed to become an event."""


class SSEKeepalive:
    """
    The response to a request whose caller is informed of its wait. It begins as a 200 with an event stream.

    The content of an upstream's 2xx follows, whatever its type. Its content coding is decoded, because the head has
    already been sent. Any other result of the request becomes an `error` event, in a form that OpenAI's and Anthropic's
    libraries raise as an exception.
    """

    log = Logger(namespace="vespa.proxy")

    _follows = False  # an upstream's content has begun after the comments
    _decoder: ContentDecoder | None = None
    _error: list[bytes] | None = None  # the parts of an upstream's error
    _error_size = 0
    _error_status = 0
    _ends_with_error = False  # a content that breaks ends with an event
    _broken = False  # the rest of the upstream's content is dropped

    def __init__(self, client: ServerConnection, upstream: str, *, stream_errors: bool = False) -> None:
        """
        Begin the response on this connection. None may have begun there. `upstream` is its name in messages.

        `stream_errors`: an upstream's event stream that breaks ends with an error event.
        """
        self._stream_errors = stream_errors
        self._client = client
        self._upstream = upstream
        client.send_continue()  # not possible after the response has begun
        client.start(200, _FIELDS, STREAM)

    def comment(self, text: str) -> None:
        """Send a comment, which readers of event streams skip."""
        self._client.write(f": {text}\n\n".encode())

    def check(self, head: ResponseHead) -> None:
        """Raises `Refusal` for a content coding that cannot be decoded."""
        coding = content_coding(head.passing)
        if not coding:
            return
        try:
            ContentDecoder(coding)
        except ValueError as error:
            message = f"the {self._upstream}'s response cannot be decoded: {error}"
            raise Refusal(502, "unknown_coding", message, origin=self._upstream) from None

    def respond(self, head: ResponseHead, data: bytes) -> None:
        """Begin the content of an upstream's response with its first bytes."""
        coding = content_coding(head.passing)
        self._decoder = ContentDecoder(coding) if coding else None
        if 200 <= head.status < 300:
            self._follows = True
            self._ends_with_error = self._stream_errors and is_event_stream(head)
        else:
            self._error = []
            self._error_status = head.status
        if data:
            self.write(data)

    def write(self, data: bytes) -> None:
        """Pass on more of the content."""
        if self._broken:
            return
        if self._decoder is not None:
            try:
                data = self._decoder.decode(data)
            except ValueError as error:
                self._truncate(error)
                return
        if self._error is None:
            self._client.write(data)
        elif self._error_size < _ERROR_MAX:
            data = data[: _ERROR_MAX - self._error_size]
            self._error.append(data)
            self._error_size += len(data)

    def finish(self) -> None:
        """The content is complete."""
        if self._decoder is not None and not self._broken:
            try:
                self._decoder.finish()
            except ValueError as error:
                self._truncate(error)
        if self._broken:
            self._client.truncate()
            return
        if self._error is not None:
            body, self._error = b"".join(self._error), None
            self._client.write(error_event(self._error_status, body, self._upstream))
        self._client.finish()

    def refuse(self, refusal: Refusal) -> None:
        """Send an error as an event, or truncate the response if an upstream's content or error has begun."""
        event = self.last_event(refusal)
        if event:
            self._client.write(event)
        if self._follows or self._error is not None:
            self._client.truncate()
        else:
            self._client.finish()

    def last_event(self, refusal: Refusal) -> bytes:
        """The event that tells of an error; b"" after content that it would not be an event of."""
        event = error_event(refusal.status, refusal.body(), self._upstream)
        if not self._follows and self._error is None:
            return event
        return b"\n\n" + event if self._ends_with_error else b""

    def _truncate(self, why: ValueError) -> None:
        """The content cannot be decoded: send an error without its text, or truncate other content."""
        if self._error is not None:
            self._decoder = None
            self._error, self._error_size = [], _ERROR_MAX
            return
        self.log.warn("a response of the {upstream} is truncated: {why}", upstream=self._upstream, why=str(why))
        self._broken = True
        # The upstream may send for ever, so the exchange must end, but not within a read of its upstream.
        self._client.server.clock.callLater(0, self._leave, self._client.handler)

    def _leave(self, handler: RequestHandler | None) -> None:
        if handler is not None and self._client.handler is handler:  # otherwise the request has ended
            self._client.cut()


_check: type[EarlyResponse] = SSEKeepalive


def uncoded(block: bytes) -> bytes:
    """The field lines with `identity` as the only content coding. Without the field any would do (RFC 9110 12.5.3)."""
    return _ACCEPT_ENCODING.sub(b"", block) + b"Accept-Encoding: identity\r\n"
