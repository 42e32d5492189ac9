"""Bodies of requests to a worker that do not come in one read, as soon as it is known how they are to be taken."""

from __future__ import annotations

from collections.abc import Sequence

from vespa.protocol.refusal import Refusal
from vespa.proxy.interfaces import Piece
from vespa.vast.auth import Auth
from vespa.vast.envelope_stream import EnvelopeStream


class EnvelopedBody:
    """An envelope of any size: its payload goes on as soon as what was signed is known, which stands before it."""

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
        _check_session(stream.session_id)  # it may stand behind the payload
        if not self.ready:
            assert last is not None
            self.content = stream.auth
            self.length = len(last)
            self.ready = True
        return (last,) if last else ()


def no_session() -> Refusal:
    """For a request that names a session: this worker has none. Official clients take a 410 for its end."""
    return Refusal(410, "invalid_session", "no such session")


def _check_session(session_id: str | None) -> None:
    if session_id is not None:
        raise no_session()
