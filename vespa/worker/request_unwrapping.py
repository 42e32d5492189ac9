"""
What becomes of a request's body at a worker: the envelope is taken off, what was signed is read. Nothing is verified.

A request is signed in its query, or in the envelope of its body. A worker that is not secured takes plain ones as well.
What is said of a body, and what the backend gets of it, does not depend on how it was cut.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from vespa.accounting.workload import to_micros
from vespa.http.held_bytes import keep
from vespa.protocol.refusal import Refusal
from vespa.protocol.request_head import RequestHead
from vespa.proxy.interfaces import Piece, RequestBody
from vespa.proxy.request_body import PassedBody
from vespa.vast.auth import Auth, parse_cost
from vespa.vast.envelope import begins_envelope, looks_like_envelope
from vespa.vast.envelope_stream import EnvelopeStream
from vespa.vast.query_envelope import divide, unsigned_query, unwrap_query
from vespa.vast.whole_envelope import unwrap_body
from vespa.worker.request_bodies import EnvelopedBody, no_session

WHOLE_MAX: Final = 65536
"""Bodies up to this size are unwrapped whole: it is cheaper than doing it as they arrive."""
LOOK_MAX: Final = 1024
"""So much of a larger body of known length is looked at, to see whether it is an envelope."""

_ENVELOPED: Final = frozenset((b"POST", b"PUT", b"PATCH"))
_UNIT: Final = to_micros(1.0)
_may_begin: Final = re.compile(rb"[ \t\r\n]*(\{|$)").match


class RequestUnwrapping:
    """
    Takes the envelope off requests.

    `secured`: every request has to be signed. `max_unverified`: bytes that a body may have whose payload comes before
    what was signed.
    """

    def __init__(self, *, secured: bool, max_cost: float = 1e9, max_unverified: int = 1 << 20) -> None:
        self.max_cost = max_cost
        """The highest cost that a request may name, in units of work; set anew when the backend is measured."""
        self._secured = secured
        self._max_unverified = max_unverified

    def unwrap(self, head: RequestHead, body: bytes) -> tuple[Auth | None, bytes]:
        """
        Open a request that came whole: what was signed, None for a plain one, and the body for the backend.

        `body`: b"" where there is none. Raises Refusal 422 "invalid_envelope" and 410 "invalid_session".
        """
        if b"?" in head.target:
            auth, _ = unwrap_query(head.target.partition(b"?")[2], self.max_cost)
            if auth is not None:
                return auth, body
        if not body or head.method not in _ENVELOPED:
            if self._secured:
                raise unsigned_query()
            return None, body
        if len(body) > WHOLE_MAX:
            # One verdict on a body, however it comes.
            parts = self._begin_unsigned(len(body))
            pieces = [*parts.feed(body), *parts.finish()]
            return parts.content, b"".join(pieces)
        if not self._secured and not looks_like_envelope(body):
            return None, body
        envelope = unwrap_body(body, self.max_cost)
        if envelope.session_id is not None:
            raise no_session()
        return envelope.auth, envelope.payload

    def begin_body(self, head: RequestHead, length: int | None) -> RequestBody:
        """
        Begin with a body that does not come in one read. `length`: its Content-Length; None: it comes in chunks.

        Raises `Refusal` as `unwrap` does, for what is wrong with the query.
        """
        if b"?" in head.target:
            auth, _ = unwrap_query(head.target.partition(b"?")[2], self.max_cost)
            if auth is not None:
                return PassedBody(auth, length)
        if length == 0 or head.method not in _ENVELOPED:
            if self._secured:
                raise unsigned_query()
            return PassedBody(None, length)
        return self._begin_unsigned(length)

    def _begin_unsigned(self, length: int | None) -> RequestBody:
        """For a body that alone can say what was signed."""
        if self._secured and length is not None and length > WHOLE_MAX:
            return self.begin_envelope(length)
        return UndecidedBody(self, length)

    def begin_envelope(self, length: int | None) -> EnvelopedBody:
        """For a body that is to be an envelope."""
        stream = EnvelopeStream(self.max_cost, max_unverified=self._max_unverified, content_length=length)
        return EnvelopedBody(stream, length)

    def open_whole(self, body: bytes) -> tuple[Auth | None, bytes]:
        """Open a body of up to `WHOLE_MAX` bytes, as `unwrap` does where nothing is signed in the query."""
        if not self._secured and not looks_like_envelope(body):
            return None, body
        envelope = unwrap_body(body, self.max_cost)
        if envelope.session_id is not None:
            raise no_session()
        return envelope.auth, envelope.payload

    def is_plain(self, beginning: bytes) -> bool:
        """Whether a large body that begins so is no envelope, and need not be one."""
        return not self._secured and not begins_envelope(beginning)

    def may_be_envelope(self, beginning: bytes) -> bool:
        """Whether more of a body that begins so has to be seen before that is known."""
        return self._secured or _may_begin(beginning) is not None

    def plain_work(self, head: RequestHead) -> int:
        """
        The work of a plain request, in millionths: what its X-Serverless-Cost says, or else one unit.

        Raises Refusal 422 "invalid_cost".
        """
        work = _UNIT
        for name, value in head.headers:
            if len(name) == 17 and name.lower() == b"x-serverless-cost":
                try:
                    work = to_micros(parse_cost(value.decode("ascii", "replace"), self.max_cost))
                except ValueError as error:
                    raise Refusal(422, "invalid_cost", f"X-Serverless-Cost {error}") from None
        return work

    def target(self, head: RequestHead) -> bytes:
        """The request's target for the backend: without what was signed, and without an api_key beside it."""
        path, mark, query = head.target.partition(b"?")
        if not mark:
            return path
        signed, others = divide(query)
        if not signed and not self._secured:
            return head.target
        return path + b"?" + others if others else path


class UndecidedBody:
    """
    A body that is opened once it is whole, as one that came in one read, if it turns out to be small.

    Of a larger one the beginning tells how it is to be taken.
    """

    ready = verbatim = False
    content: Auth | None = None

    def __init__(self, unwrapping: RequestUnwrapping, length: int | None) -> None:
        self.length = length
        self._unwrapping = unwrapping
        self._small = length is not None and length <= WHOLE_MAX
        self._enough = WHOLE_MAX if length is None or self._small else LOOK_MAX
        self._kept: list[bytes] = []
        self._kept_size = 0
        self._body: RequestBody | None = None

    def feed(self, data: bytes) -> Sequence[Piece]:
        body = self._body
        if body is None:
            keep(self._kept, data)
            self._kept_size += len(data)
            undecided = self._kept_size <= self._enough and self._unwrapping.may_be_envelope(self._kept[0])
            if self._small or undecided:
                return ()
            data = b"".join(self._kept)
            body = self._decide(data)
        pieces = body.feed(data)
        self._follow(body)
        return pieces

    def finish(self) -> Sequence[Piece]:
        if self._body is None:
            kept, self._kept = self._kept, []
            self.content, payload = self._unwrapping.open_whole(b"".join(kept))
            self.length = len(payload)
            self.ready = True
            return (payload,)
        pieces = self._body.finish()
        self._follow(self._body)
        return pieces

    def _decide(self, beginning: bytes) -> RequestBody:
        # No more of it than is certain to be there, so that nothing depends on how the body was cut.
        if self._unwrapping.is_plain(beginning[: self._enough]):
            self._body = PassedBody(None, self.length)
        else:
            self._body = self._unwrapping.begin_envelope(self.length)
        self._kept = []
        return self._body

    def _follow(self, body: RequestBody) -> None:
        self.ready, self.content, self.length, self.verbatim = body.ready, body.content, body.length, body.verbatim
