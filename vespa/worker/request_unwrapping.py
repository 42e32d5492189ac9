"""
Unwraps a request's body at a worker: it removes the envelope and reads the signed data, without verifying it.

A request is signed in its query, or in the envelope of its body. An unsecured worker also accepts plain ones.
The result, and the backend's body, do not depend on how the body was split into reads.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from attrs import define

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
from vespa.worker.request_bodies import EnvelopedBody, in_session

WHOLE_MAX: Final = 65536
"""Bodies of up to this size are unwrapped as a whole, which is cheaper than unwrapping them as they arrive."""
LOOK_MAX: Final = 1024  # the number of bytes of a larger body of known length that decide whether it is an envelope

_ENVELOPED: Final = frozenset((b"POST", b"PUT", b"PATCH"))
_UNIT: Final = to_micros(1.0)
_may_begin: Final = re.compile(rb"[ \t\r\n]*(\{|$)").match


@define(eq=False, slots=False)
class RequestUnwrapping:
    """
    Removes the envelope of requests.

    `secured`: every request must be signed. `max_unverified`: the maximum size in bytes of a body whose payload comes
    before the signed data. `sessions`: requests may belong to a session.
    """

    _secured: bool
    max_cost: float = 1e9
    """The highest cost that a request may name, in units of work. Set again when the backend is measured."""
    _max_unverified: int = 1 << 20
    _sessions: bool = False

    def unwrap(self, head: RequestHead, body: bytes) -> tuple[Auth | None, bytes]:
        """
        Unwrap a request that came whole. Returns the signed data (None for a plain one) and the body for the backend.

        `body`: b"" without a body. Raises Refusal 422 "invalid_envelope" and 410 "invalid_session".
        """
        if b"?" in head.target:
            auth, _ = unwrap_query(head.target.partition(b"?")[2], self.max_cost)
            if auth is not None:
                if auth.session_id is not None:
                    auth = in_session(auth, auth.session_id, self._sessions)
                return auth, body
        if not body or head.method not in _ENVELOPED:
            if self._secured:
                raise unsigned_query()
            return None, body
        if len(body) > WHOLE_MAX:
            # The same result for a body in whatever way it comes.
            parts = self._begin_unsigned(len(body))
            pieces = [*parts.feed(body), *parts.finish()]
            return parts.content, b"".join(pieces)
        if not self._secured and not looks_like_envelope(body):
            return None, body
        envelope = unwrap_body(body, self.max_cost)
        if envelope.session_id is None:
            return envelope.auth, envelope.payload
        return in_session(envelope.auth, envelope.session_id, self._sessions), envelope.payload

    def begin_body(self, head: RequestHead, length: int | None) -> RequestBody:
        """
        Begin a body that comes in several reads. `length`: its Content-Length; None: it is chunked.

        Raises `Refusal` like `unwrap`, for errors in the query.
        """
        if b"?" in head.target:
            auth, _ = unwrap_query(head.target.partition(b"?")[2], self.max_cost)
            if auth is not None:
                if auth.session_id is not None:
                    auth = in_session(auth, auth.session_id, self._sessions)
                return PassedBody(auth, length)
        if length == 0 or head.method not in _ENVELOPED:
            if self._secured:
                raise unsigned_query()
            return PassedBody(None, length)
        return self._begin_unsigned(length)

    def _begin_unsigned(self, length: int | None) -> RequestBody:
        """Begin a body of a request whose query is not signed."""
        if self._secured and length is not None and length > WHOLE_MAX:
            return self.begin_envelope(length)
        return UndecidedBody(self, length)

    def begin_envelope(self, length: int | None) -> EnvelopedBody:
        """Begin a body that must be an envelope."""
        stream = EnvelopeStream(self.max_cost, max_unverified=self._max_unverified, content_length=length)
        return EnvelopedBody(stream, length, self._sessions)

    def open_whole(self, body: bytes) -> tuple[Auth | None, bytes]:
        """Open a body of up to `WHOLE_MAX` bytes, like `unwrap` without a signed query."""
        if not self._secured and not looks_like_envelope(body):
            return None, body
        envelope = unwrap_body(body, self.max_cost)
        if envelope.session_id is None:
            return envelope.auth, envelope.payload
        return in_session(envelope.auth, envelope.session_id, self._sessions), envelope.payload

    def is_plain(self, beginning: bytes) -> bool:
        """Whether a large body with this beginning is not an envelope, and need not be one."""
        return not self._secured and not begins_envelope(beginning)

    def may_be_envelope(self, beginning: bytes) -> bool:
        """Whether a body with this beginning may still be an envelope."""
        return self._secured or _may_begin(beginning) is not None

    def plain_work(self, head: RequestHead) -> int:
        """
        The work of a plain request, in millionths: that of its X-Serverless-Cost, or one unit.

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
        """The request's target for the backend, without signed parameters and without an api_key beside them."""
        path, mark, query = head.target.partition(b"?")
        if not mark:
            return path
        signed, others = divide(query)
        if not signed and not self._secured:
            return head.target
        return path + b"?" + others if others else path


class UndecidedBody:
    """
    A body whose form is not known yet. A small one is opened when it is complete, like one that came in one read.

    The beginning of a larger one decides its form.
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
        # Only the part that is certain to be there, so that the result does not depend on how the body was split.
        if self._unwrapping.is_plain(beginning[: self._enough]):
            self._body = PassedBody(None, self.length)
        else:
            self._body = self._unwrapping.begin_envelope(self.length)
        self._kept = []
        return self._body

    def _follow(self, body: RequestBody) -> None:
        self.ready, self.content, self.length, self.verbatim = body.ready, body.content, body.length, body.verbatim
