"""Bodies of requests to a worker that come in several reads, when their form is known."""

from __future__ import annotations

from collections.abc import Sequence

from vespa.protocol.refusal import Refusal
from vespa.proxy.interfaces import Piece
from vespa.vast.auth import Auth
from vespa.vast.envelope_stream import EnvelopeStream


class EnvelopedBody:
    """An envelope of any size. Its payload passes as soon as the signed data before it has been read."""

    ready = verbatim = False
    content: Auth | None = None

    def __init__(self, stream: EnvelopeStream, length: int | None) -> None:
        self.length = length
        self._stream = stream

    def feed(self, data: bytes) -> Sequence[Piece]:
        stream = self._stream
        pieces = stream.feed(data)
        if not self.ready and stream.streaming:
            _check_session(stream.session_id)
            self.content = stream.auth
            if self.length is not None:
                self.length = stream.payload_length(self.length)
            self.ready = True
        return pieces

    def finish(self) -> Sequence[Piece]:
        stream = self._stream
        last = stream.finish()
        _check_session(stream.session_id)  # it may come after the payload
        if not self.ready:
            assert last is not None
            self.content = stream.auth
            self.length = len(last)
            self.ready = True
        return (last,) if last else ()


def no_session() -> Refusal:
    """The refusal of a request that names a session. Official clients take a 410 for the session's end."""
    return Refusal(410, "invalid_session", "this worker has no sessions: leave session_id out")


def _check_session(session_id: str | None) -> None:
    if session_id is not None:
        raise no_session()
