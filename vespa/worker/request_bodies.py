"""
The body of a request to a worker, where it does not come in one read: what of it goes to the backend, and when.

What is said of a body, and what the backend gets of it, does not depend on how it was cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from vespa.http.held_bytes import keep
from vespa.protocol.refusal import Refusal
from vespa.vast.auth import Auth
from vespa.vast.envelope_stream import EnvelopeStream

WHOLE_MAX: Final = 65536
"""Bodies up to this size are unwrapped whole: it is cheaper than doing it as they arrive."""

LOOK_MAX: Final = 1024
"""So much of a larger body of known length is looked at, to see whether it is an envelope."""

Piece = bytes | memoryview


class RequestBody(Protocol):
    """The body of one request that does not come in one read."""

    content: Auth | None
    """What was signed; None for a plain request. Known once it is `ready`."""
    ready: bool
    """
    The request is understood, and may be verified and admitted. Until then its body is wanted.

    It may be so from the start, or come true in `feed` or `finish`: then what the same call returned is to be passed on
    only after that.
    """
    length: int | None
    """The length of the body towards the backend, once it is `ready`; None: it is not known."""
    has_body: bool
    verbatim: bool
    """The body goes on byte for byte: the rest of it need not come through `feed`."""
    replayable: bool
    """What was returned is all that the backend gets, so it may be kept and sent once more."""

    def feed(self, data: bytes) -> Sequence[Piece]:
        """Take bytes of the body; returns those for the backend. Raises `Refusal`."""

    def finish(self) -> Sequence[Piece]:
        """The body is complete; returns what is left for the backend. Raises `Refusal`."""


class Unwrapping(Protocol):
    """How a worker takes the body of a request that is not signed in its query."""

    def open_whole(self, body: bytes) -> tuple[Auth | None, bytes]:
        """What was signed, and the payload, of a small body that is whole. Raises `Refusal`."""

    def begin_envelope(self, length: int | None) -> EnvelopedBody:
        """For a large body that is to be an envelope."""

    def is_plain(self, beginning: bytes) -> bool:
        """Whether a large body that begins so is no envelope, and need not be one."""

    def may_be_envelope(self, beginning: bytes) -> bool:
        """Whether more of a body that begins so has to be seen before that is known."""


class PassedBody:
    """A body that goes on as it comes: signed in the query, or plain."""

    ready = verbatim = replayable = True

    def __init__(self, content: Auth | None, length: int | None) -> None:
        self.content = content
        self.length = length
        self.has_body = length != 0

    def feed(self, data: bytes) -> Sequence[Piece]:
        return (data,) if data else ()

    def finish(self) -> Sequence[Piece]:
        return ()


class WholeBody:
    """A small body: opened once it is whole, as one that came in one read."""

    ready = verbatim = False
    replayable = has_body = True
    content: Auth | None = None

    def __init__(self, unwrapping: Unwrapping, length: int | None) -> None:
        self.length = length
        self._unwrapping = unwrapping
        self._kept: list[bytes] = []

    def feed(self, data: bytes) -> Sequence[Piece]:
        keep(self._kept, data)
        return ()

    def finish(self) -> Sequence[Piece]:
        kept, self._kept = self._kept, []
        self.content, payload = self._unwrapping.open_whole(b"".join(kept))
        self.length = len(payload)
        self.ready = True
        return (payload,)


class EnvelopedBody:
    """An envelope of any size: its payload goes on as soon as what was signed is known, which stands before it."""

    ready = verbatim = False
    replayable = has_body = True
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


class UndecidedBody:
    """A body of which its beginning tells how it is to be taken, or its size, which is not known beforehand."""

    ready = verbatim = False
    replayable = has_body = True
    content: Auth | None = None

    def __init__(self, unwrapping: Unwrapping, length: int | None) -> None:
        self.length = length
        self._unwrapping = unwrapping
        self._enough = WHOLE_MAX if length is None else LOOK_MAX
        self._kept: list[bytes] = []
        self._kept_size = 0
        self._body: RequestBody | None = None

    def feed(self, data: bytes) -> Sequence[Piece]:
        body = self._body
        if body is None:
            keep(self._kept, data)
            self._kept_size += len(data)
            if self._kept_size <= self._enough and self._unwrapping.may_be_envelope(self._kept[0]):
                return ()
            data = b"".join(self._kept)
            body = self._decide(data)
        pieces = body.feed(data)
        self._follow(body)
        return pieces

    def finish(self) -> Sequence[Piece]:
        body = self._body
        if body is None:
            # It turned out to be a small one.
            body = WholeBody(self._unwrapping, None)
            body.feed(b"".join(self._kept))
        pieces = body.finish()
        self._follow(body)
        return pieces

    def _decide(self, beginning: bytes) -> RequestBody:
        # No more of it than is certain to be there, so that nothing depends on how the body was cut.
        if self._unwrapping.is_plain(beginning[: self._enough]):
            body: RequestBody = PassedBody(None, self.length)
        else:
            body = self._unwrapping.begin_envelope(self.length)
        self._body = body
        self._kept = []
        return body

    def _follow(self, body: RequestBody) -> None:
        self.ready, self.content, self.length, self.verbatim = body.ready, body.content, body.length, body.verbatim


def no_session() -> Refusal:
    """For a request that names a session: this worker has none. Official clients take a 410 for its end."""
    return Refusal(410, "invalid_session", "no such session")


def _check_session(session_id: str | None) -> None:
    if session_id is not None:
        raise no_session()
