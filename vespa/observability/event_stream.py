"""
Server-sent events: the status once a second, to those who look.

While there is no stream nothing is computed. The document is made once a second for all streams together. A reader that
is too slow misses events, and is dropped when it has missed `MISSED_MAX` in a row. The system's buffers hold many
events, so this begins late.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IReactorTime

from vespa.http.response_writer import STREAM
from vespa.http.server_connection import ServerConnection
from vespa.protocol.refusal import Refusal
from vespa.protocol.request_head import RequestHead
from vespa.proxy.local_response import LocalResponse
from vespa.runtime.services import SurvivingLoop

STREAMS_MAX: Final = 16
INTERVAL_SECONDS: Final = 1.0
MISSED_MAX: Final = 15

_LINES: Final = b"Content-Type: text/event-stream\r\nX-Accel-Buffering: no\r\n"  # the latter for an nginx between
_RETRY: Final = b"retry: 2000\n\n"  # milliseconds until the browser connects again


class EventStream(LocalResponse):
    """One response, which lasts until its reader leaves or the port closes."""

    def __init__(self, client: ServerConnection, head: RequestHead, streams: EventStreams) -> None:
        super().__init__(client, head)
        self._streams = streams
        self._missed = 0
        self._is_paused = False

    def respond(self) -> None:
        client = self.client
        if self.head.head_only:
            client.start(200, _LINES, STREAM)
            client.finish()
            return
        try:
            event = self._streams.open(self)
        except Refusal as refusal:
            client.refuse(refusal)
            return
        client.start(200, _LINES, STREAM)
        self._is_paused = client.write_blocked
        client.write(_RETRY + event)

    def send(self, event: bytes) -> None:
        """Send an event, unless the reader is behind."""
        if not self._is_paused:
            self._missed = 0
            self.client.write(event)
            return
        self._missed += 1
        if self._missed > MISSED_MAX:
            self.client.cut()

    def finish(self) -> None:
        """End the response."""
        self.client.finish()

    def hang_up(self, refusal: Refusal | None = None) -> None:
        self._streams.discard(self)

    def pause(self) -> None:
        self._is_paused = True

    def resume(self) -> None:
        self._is_paused = False


class EventStreams:
    """All streams, and the loop that feeds them."""

    def __init__(self, clock: IReactorTime, document: Callable[[], bytes]) -> None:
        """`document` returns the status as one line of JSON."""
        self._document = document
        self._streams: dict[EventStream, None] = {}
        self._loop = SurvivingLoop(clock, INTERVAL_SECONDS, self._send, now=False, what="the stream of the status")

    def __len__(self) -> int:
        return len(self._streams)

    def open(self, stream: EventStream) -> bytes:
        """Add a stream. Returns its first event. Raises `Refusal` 503, and the errors of the document."""
        if len(self._streams) >= STREAMS_MAX:
            message = f"{STREAMS_MAX} browsers or programs follow the status already"
            raise Refusal(503, "too_many_streams", message, retry_after=INTERVAL_SECONDS)
        event = self._event()
        self._streams[stream] = None
        if not self._loop.running:
            self._loop.startService()
        return event

    def discard(self, stream: EventStream) -> None:
        """A reader has left."""
        self._streams.pop(stream, None)
        if not self._streams and self._loop.running:
            self._loop.stopService()

    def close(self) -> None:
        """End all streams."""
        for stream in list(self._streams):
            self.discard(stream)
            stream.finish()

    def _event(self) -> bytes:
        return b"event: status\ndata: %b\n\n" % self._document()

    def _send(self) -> None:
        event = self._event()
        for stream in list(self._streams):
            stream.send(event)
