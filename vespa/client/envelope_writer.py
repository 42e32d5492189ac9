"""What becomes of a request's body: wrapped in an envelope beside the assignment, or passed on as it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from vespa.client.event_paths import has_event_path
from vespa.client.payload import OneValue, Payload, has_space_around, read_payload
from vespa.client.request_headers import CallerFields
from vespa.http.held_bytes import keep
from vespa.protocol.heads import RequestHead
from vespa.protocol.refusal import Refusal

WHOLE_MAX: Final = 1 << 20
"""JSON up to this size is looked into before it is wrapped: is it JSON, what does it cost, does it ask for a stream."""

BODY_SUFFIX: Final = b"}"
"""What ends an envelope."""

_ENVELOPED: Final = frozenset((b"POST", b"PUT", b"PATCH"))


def body_prefix(auth_data: bytes) -> bytes:
    """What begins an envelope: the assignment first, so that a worker can check it before the payload comes."""
    return b'{"auth_data":%b,"payload":' % auth_data


class EnvelopeWriter:
    """
    One request's body, as it comes.

    A JSON body goes into an envelope, unless it turns out not to be JSON: then, and with any other body or none, the
    assignment goes into the query, and the body as it is. Official workers know the envelope only.
    """

    enveloped: bool | None = None
    """None while that is not decided; what it depends on is in the body."""
    streams = False
    """The request asks for server-sent events, as far as is known."""
    tokens: float | None = None
    """The most tokens that it wants made, if it says so in a body that was looked into."""

    _value: OneValue | None = None
    _kept_size = 0

    def __init__(self, head: RequestHead, fields: CallerFields, official: bool) -> None:
        """Raises `Refusal` for what official workers do not take."""
        self.length: int | None = head.length
        self.has_body = head.chunked or bool(head.length)
        self._official = official
        self._kept: list[bytes] = []
        if official:
            self._check_official(head, fields)
        if not (fields.json and self.has_body and head.method in _ENVELOPED):
            self.enveloped = False
        self.streams = fields.stream
        self._has_event_path = has_event_path(head.target)

    def _check_official(self, head: RequestHead, fields: CallerFields) -> None:
        if b"websocket" in head.upgrade.lower():
            # Programs that try a WebSocket first, such as Codex, fall back at once on this status alone.
            raise Refusal(
                426,
                "official_dialect",
                "official workers take no WebSocket or other upgrade: send POST with a JSON body over HTTP/1.1",
                headers=((b"Connection", b"Upgrade"), (b"Upgrade", b"HTTP/1.1")),
            )
        if head.method != b"POST" or not self.has_body:
            raise Refusal(405, "official_dialect", "official workers take POST with a JSON body only", allow="POST")
        if not fields.json:
            raise Refusal(415, "official_dialect", "official workers take JSON only: Content-Type: application/json")

    def feed(self, data: bytes) -> Sequence[bytes]:
        """Take bytes of the body; returns those to pass on. Raises `Refusal`."""
        if self.enveloped is not None:
            if self._value is not None:
                self._value.feed(data)
            return (data,)
        keep(self._kept, data)
        self._kept_size += len(data)
        if self._kept_size <= WHOLE_MAX and (self.length is None or self.length <= WHOLE_MAX):
            return ()
        return self._take_unread()

    def finish(self) -> Sequence[bytes]:
        """The body is complete; returns what is left to pass on. Raises `Refusal`."""
        if self.enveloped is not None:
            if self._value is not None:
                self._value.finish()
            return ()
        body = self._kept[0] if len(self._kept) == 1 else b"".join(self._kept)
        self._kept = []
        self.length = len(body)
        self.has_body = bool(body)
        payload = read_payload(body)
        if payload is not None:
            self.streams = self.streams or (payload.streams and self._has_event_path)
            self.tokens = payload.tokens
        elif self._official:
            # Python's own NaN and such: the worker's to judge, as in a body too large to look into.
            value = OneValue()
            value.feed(body)
            value.finish()
            payload = Payload()
        # What is no JSON the backend is to say itself, as it would without a proxy; white space around JSON would be
        # lost in an envelope.
        self.enveloped = payload is not None and (self._official or not has_space_around(body))
        return (body,) if body else ()

    def _take_unread(self) -> Sequence[bytes]:
        """The body is too large to be looked into first: it streams by from here on."""
        kept, self._kept = self._kept, []
        self.enveloped = self._official or not has_space_around(kept[0][:1])
        if self.enveloped:
            # Whatever stood behind the value would become a part of the envelope.
            self._value = OneValue()
            for each in kept:
                self._value.feed(each)
        return kept
