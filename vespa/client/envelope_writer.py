"""Prepares a request's body at the client: for an envelope with the assignment, or unchanged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from attrs import frozen

from vespa.accounting.workload import MAX_COST
from vespa.client.caller_fields import CallerFields, fields_of
from vespa.client.one_value import OneValue, has_space_around
from vespa.client.policy import Policy
from vespa.http.held_bytes import keep
from vespa.protocol.json_payload import Payload, has_event_path, read_payload
from vespa.protocol.refusal import Refusal
from vespa.protocol.request_head import RequestHead
from vespa.proxy.interfaces import BodyTransform, RequestBody
from vespa.proxy.request_body import PassedBody
from vespa.vast.auth import parse_cost

WHOLE_MAX: Final = 1 << 20
"""JSON up to this size is looked into before it is wrapped: is it JSON, what does it cost, does it ask for a stream."""

BODY_SUFFIX: Final = b"}"  # what ends an envelope

_ENVELOPED: Final = frozenset((b"POST", b"PUT", b"PATCH"))


@frozen
class Content:
    """
    The client's information about a caller's request.

    `fields` are its parsed fields. `enveloped`: its body goes into an envelope; otherwise the assignment goes into
    the query. `streams`: it asks for server-sent events, as far as is known. `cost` is the cost for the autoscaler, in
    Vast's units.
    """

    fields: CallerFields
    enveloped: bool
    streams: bool
    cost: float


class EnvelopeWriter:
    """
    Parses a request, and decides how it carries its assignment.

    A JSON body goes into an envelope, unless it turns out not to be JSON. Otherwise, and without a body, the
    assignment goes into the query, and the body stays unchanged. Official workers know the envelope only.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def unwrap(self, head: RequestHead, body: bytes) -> tuple[Content, bytes]:
        """
        Parse a request that came whole. Its body stays unchanged.

        Raises Refusal 422 "invalid_cost" and "invalid_json"; 405, 415 and 426 for requests that official workers
        reject.
        """
        fields = fields_of(head)
        if not (fields.json and body and head.method in _ENVELOPED):
            self._check(head, fields, bool(body))
            return self.content(head, fields, enveloped=False), body
        if len(body) > WHOLE_MAX:
            # The same result for a body in whatever way it comes.
            parts = self.begin_body(head, len(body))
            pieces = [*parts.feed(body), *parts.finish()]
            return parts.content, b"".join(pieces)
        self._check(head, fields, True)
        return self.look_into(head, fields, body), body

    def begin_body(self, head: RequestHead, length: int | None) -> RequestBody:
        """
        Begin a body that comes in several reads. `length`: its Content-Length; None: it is chunked.

        Raises `Refusal` like `unwrap`, for errors in the head.
        """
        fields = fields_of(head)
        self._check(head, fields, True)
        if fields.json and head.method in _ENVELOPED:
            return JSONBody(self, head, fields, length)
        return PassedBody(self.content(head, fields, enveloped=False), length)

    def look_into(self, head: RequestHead, fields: CallerFields, body: bytes) -> Content:
        """Parse a JSON body of up to `WHOLE_MAX` bytes. Raises Refusal 422 "invalid_json"."""
        payload = read_payload(body)
        official = self._policy.official
        if payload is None and official:
            # Python's NaN, for example: the worker decides, as for a body that is too large to parse.
            value = OneValue()
            value.feed(body)
            value.finish()
            payload = Payload()
        # If it is not JSON the backend says so, as it would without a proxy. An envelope would lose white space around
        # the JSON value.
        enveloped = payload is not None and (official or not has_space_around(body))
        return self.content(head, fields, enveloped=enveloped, payload=payload)

    def keeps_envelope(self, beginning: bytes) -> bool:
        """Whether a JSON body with this beginning that is too large to parse goes into an envelope."""
        return self._policy.official or not has_space_around(beginning[:1])

    def content(
        self, head: RequestHead, fields: CallerFields, *, enveloped: bool, payload: Payload | None = None
    ) -> Content:
        """
        The information about the request. `payload`: that of a parsed body.

        The cost is that of the field, or the tokens if the policy wants them, or the default. Raises Refusal 422
        "invalid_cost".
        """
        streams = fields.stream
        cost = self._policy.cost
        if payload is not None:
            streams = streams or (payload.streams and has_event_path(head.target))
            if self._policy.cost_from_tokens and payload.tokens is not None:
                cost = payload.tokens
        if fields.cost is not None:
            cost = _told_cost(fields.cost)
        return Content(fields, enveloped, streams, cost)

    def _check(self, head: RequestHead, fields: CallerFields, has_body: bool) -> None:
        """Raises `Refusal` if the head alone is enough to refuse the request."""
        if fields.cost is not None:
            _told_cost(fields.cost)
        if not self._policy.official:
            return
        if b"websocket" in head.upgrade.lower():
            # Programs that try a WebSocket first, such as Codex, fall back at once only after this status.
            raise Refusal(
                426,
                "official_dialect",
                "official workers accept no WebSocket or other upgrade: send POST with a JSON body over HTTP/1.1",
                headers=((b"Connection", b"Upgrade"), (b"Upgrade", b"HTTP/1.1")),
            )
        if head.method != b"POST" or not has_body:
            raise Refusal(405, "official_dialect", "official workers accept only POST with a JSON body", allow="POST")
        if not fields.json:
            raise Refusal(415, "official_dialect", "official workers accept only JSON: Content-Type: application/json")


_check: type[BodyTransform] = EnvelopeWriter


class JSONBody:
    """A JSON body in several reads. It is parsed when complete; from `WHOLE_MAX` bytes on it passes without parsing."""

    ready = verbatim = False
    content: Content | None = None
    _value: OneValue | None = None
    _kept_size = 0

    def __init__(self, writer: EnvelopeWriter, head: RequestHead, fields: CallerFields, length: int | None) -> None:
        self.length = length
        self._writer = writer
        self._head = head
        self._fields = fields
        self._kept: list[bytes] = []

    def feed(self, data: bytes) -> Sequence[bytes]:
        if self.ready:
            if self._value is not None:
                self._value.feed(data)
            return (data,)
        keep(self._kept, data)
        self._kept_size += len(data)
        if self._kept_size <= WHOLE_MAX and (self.length is None or self.length <= WHOLE_MAX):
            return ()
        return self._take_unread()

    def finish(self) -> Sequence[bytes]:
        if self.ready:
            if self._value is not None:
                self._value.finish()
            return ()
        body = self._kept[0] if len(self._kept) == 1 else b"".join(self._kept)
        self._kept = []
        self.length = len(body)
        self._understood(self._writer.look_into(self._head, self._fields, body))
        return (body,) if body else ()

    def _take_unread(self) -> Sequence[bytes]:
        """Pass on a body that is too large to parse."""
        kept, self._kept = self._kept, []
        enveloped = self._writer.keeps_envelope(kept[0])
        if enveloped:
            # Bytes after the value would become a part of the envelope.
            self._value = OneValue()
            for each in kept:
                self._value.feed(each)
        self._understood(self._writer.content(self._head, self._fields, enveloped=enveloped))
        return kept

    def _understood(self, content: Content) -> None:
        self.content = content
        self.verbatim = not content.enveloped
        self.ready = True


def _told_cost(text: bytes) -> float:
    try:
        return parse_cost(text.decode("ascii", "replace"), MAX_COST)
    except ValueError as error:
        raise Refusal(422, "invalid_cost", f"X-Serverless-Cost {error}") from None
