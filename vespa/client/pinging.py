"""An answer that begins before there is one: comments in an event stream, while a worker is looked for."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final

from vespa.core.refusal import Refusal
from vespa.http.channel import ServerChannel
from vespa.http.request import STREAM, ServerRequest

PING_AFTER_SECONDS: Final = 2.0
"""A wait this long is told; the callers whose wait is shorter get the worker's own status and fields."""

_FIELDS: Final = b"Content-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
_ERROR_MAX: Final = 65536
_WHOLE_MAX: Final = 16 << 20  # an answer that is no stream though one was asked for: it was paid for


class PingedRequest(ServerRequest):
    """
    A request that may be told how long it waits, before anybody answers it.

    From the first such comment on, the answer is a 200 and an event stream. A worker's event stream follows; what else
    comes of the request becomes an `error` event, in the shape that OpenAI's and Anthropic's libraries raise from.
    """

    _pinged = False
    _follows = False  # a worker's stream, after the comments
    _error: list[bytes] | None = None  # a worker's answer that is no stream, as it comes
    _error_size = 0
    _error_status = 0

    def __init__(self, request: ServerRequest) -> None:
        """`request` is the one that the channel knows."""
        self._inner = request
        self.head = request.head
        self.keep_alive = request.keep_alive

    @property
    def channel(self) -> ServerChannel | None:
        """The channel, as long as the caller is there."""
        return self._inner.channel

    @channel.setter
    def channel(self, channel: ServerChannel | None) -> None:
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
            self.permit()  # once an answer has begun, nobody can be told to send the body
            super().start(200, _FIELDS, STREAM)
            self._pinged = self._inner.started = True
            self._inner.keep_alive = self.keep_alive
        super().write(f": waiting for a worker, {seconds:.0f} s: {status}\n\n".encode())

    def start(self, status: int, block: bytes, framing: int, length: int | None = None, *, dated: bool = False) -> None:
        if not self._pinged:
            super().start(status, block, framing, length, dated=dated)
            self._inner.started = True
            self._inner.keep_alive = self.keep_alive
        elif status == 200 and b"text/event-stream" in block.lower():
            self._follows = True
        else:
            self._error = []
            self._error_status = status

    def write(self, data: bytes) -> None:
        if self._error is None:
            super().write(data)
        elif self._error_size < (_WHOLE_MAX if self._error_status == 200 else _ERROR_MAX):
            self._error.append(data)
            self._error_size += len(data)

    def sink(self) -> Callable[[bytes], None] | None:
        return None if self._pinged else super().sink()

    def flush(self) -> None:
        if not self._pinged:
            super().flush()

    def finish(self) -> None:
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


def _event(status: int, body: bytes) -> bytes:
    """An answer other than a stream, as the last event of one."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        said = None
    if status == 200 and said is not None:
        return b"data: %b\n\n" % json.dumps(said).encode("ascii")
    error = said.get("error") if isinstance(said, dict) else None
    if not isinstance(error, dict):
        text = error if isinstance(error, str) else body[:4096].decode("utf-8", "replace")
        error = {"message": text or f"the worker answered {status}"}
    error = {"type": "upstream_error", "status": status, **error}
    return b"event: error\ndata: %b\n\n" % json.dumps({"type": "error", "error": error}).encode("ascii")
