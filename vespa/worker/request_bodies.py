"""Bodies of requests to a worker that come in several reads, when their form is known."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from vespa.protocol.refusal import Refusal
from vespa.proxy.interfaces import Piece
from vespa.vast.auth import Auth
from vespa.vast.envelope_stream import EnvelopeStream


class EnvelopedBody:
    """An envelope of any size. Its payload passes as soon as the signed data before it has been read."""

    ready = verbatim = False
    content: Auth | None = None

    def __init__(self, stream: EnvelopeStream, length: int | None, sessions: bool = False) -> None:
        self.length = length
        self._stream = stream
        self._sessions = sessions

    def feed(self, data: bytes) -> Sequence[Piece]:
        stream = self._stream
        try:
            pieces = stream.feed(data)
        except Refusal:
            if not self.ready and stream.streaming:
                # What is wrong follows the beginning of the payload, where a session may be refused: that comes first,
                # as it does if the rest is read later.
                self._auth(stream.session_before)
            raise
        if not self.ready and stream.streaming:
            self.content = self._auth(stream.session_before)
            if self.length is not None:
                self.length = stream.payload_length(self.length)
            self.ready = True
        return pieces

    def finish(self) -> Sequence[Piece]:
        stream = self._stream
        last = stream.finish()
        if not self.ready:
            assert last is not None
            self.content = self._auth(stream.session_id)
            self.length = len(last)
            self.ready = True
        elif stream.session_id != stream.session_before:
            self._auth(stream.session_id)  # refuses it without sessions
            raise Refusal(422, "invalid_envelope", "in a body of this size session_id must come before the payload")
        return (last,) if last else ()

    def _auth(self, session_id: str | None) -> Auth | None:
        """The signed data, with this session. Raises Refusal 410 if there are no sessions."""
        auth = self._stream.auth
        return auth if session_id is None or auth is None else in_session(auth, session_id, self._sessions)


def in_session(auth: Auth, session_id: str, sessions: bool) -> Auth:
    """
    The signed data of a request that names a session.

    Raises Refusal 410 "invalid_session" without `sessions`. Official clients take a 410 for the session's end.
    """
    if not sessions:
        raise Refusal(410, "invalid_session", "this worker has no sessions: leave session_id out")
    return replace(auth, session_id=session_id)
