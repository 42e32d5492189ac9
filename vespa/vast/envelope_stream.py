"""
The envelope while it arrives: `{"auth_data": …, "session_id": …, "payload": …}`.

`auth_data` is known before the payload begins, so it can be verified early, and the payload's own bytes go on to the
backend piece by piece, in constant memory. What makes this safe:

- Nothing is yielded before `auth_data` was read, and nothing of what follows the payload ever is.
- The payload is not validated, only its end is found: as all the rest is checked strictly, the envelope is valid JSON
  exactly when the payload is, and the backend sees the payload as it was sent.
- Keys are compared decoded, and none may come twice: what was verified is all there is. What comes after the payload
  is checked as strictly, and before the request is complete for the backend. The official client sends nothing there.
- The verdict and the payload are functions of the bytes, never of how they were cut.
- The request to the backend is complete only when all of the envelope was checked. In chunked framing the caller keeps
  the last chunk until `finish` returned; with a Content-Length, the last byte is kept here.

A payload that comes before `auth_data` could not be passed on before its own end: such a body is kept, up to a limit,
for the parser of whole bodies, which allows any order.
"""

from __future__ import annotations

from enum import IntEnum

from vespa.vast.auth import Auth
from vespa.vast.envelope_prefix import EnvelopePrefix, invalid, scan, too_large
from vespa.vast.json_scanner import Scanner
from vespa.vast.whole_envelope import unwrap_body


class _Place(IntEnum):
    """Where in the envelope the next byte belongs."""

    HEAD = 0
    PAYLOAD = 1
    CLOSE = 2
    END = 3
    WHOLE = 4


class EnvelopeStream:
    """
    Unwraps one envelope as it arrives.

    Every chunk of the body goes to `feed`, its end to `finish`: what they return, in that order, is what the backend
    gets. `auth` appears once `auth_data` is complete, in `feed` or, where `streaming` never came true, in `finish`; the
    caller verifies it before it passes on what the same call returned. A Refusal is the last that can be got of it; if
    `auth` appeared in the very call that raised it, then what it is about comes after `auth_data` in the body.

    Limits are in bytes: `max_head` for all that stands before the payload and again for all that stands after it,
    `max_auth` for `auth_data`, `max_unverified` for a body whose payload comes before `auth_data`; `max_keys` is a
    number of keys. `content_length` is the body's, given if the backend is to be told the length of what it gets.
    """

    def __init__(
        self,
        max_cost: float,
        max_head: int = 65536,
        max_auth: int = 16384,
        max_keys: int = 64,
        max_unverified: int = 1 << 20,
        *,
        content_length: int | None = None,
    ) -> None:
        self.auth: Auth | None = None
        """What was signed, once it is complete; not verified here."""
        self.session_id: str | None = None
        """The session that the request names, if any; settled by `finish`, as it may stand behind the payload."""
        self.payload_complete = False
        """Whether the payload's end was seen; what has to follow it may still be missing."""
        self._max_cost = max_cost
        self._max_unverified = max_unverified
        self._content_length = content_length
        self._place = _Place.HEAD
        self._members = EnvelopePrefix(max_cost, max_head, max_auth, max_keys)
        self._scanner = Scanner()
        self._whole = bytearray()
        self._before = 0
        self._after = 0
        self._held = b""

    @property
    def streaming(self) -> bool:
        """Whether the payload began with `auth_data` seen before it, so that pieces go on once that is verified."""
        return self._place in (_Place.PAYLOAD, _Place.CLOSE, _Place.END)

    def payload_length(self, content_length: int) -> int:
        """
        Return how many bytes the backend gets of an envelope of `content_length` bytes. Only while `streaming`.

        What follows the payload is not known by then, but that it is one byte at least, the `}`. For each more there
        is one byte of white space after the payload, which says nothing in JSON.
        """
        return content_length - self._before - 1

    @property
    def padding(self) -> int:
        """How many bytes of white space `finish` adds to a payload whose length was told beforehand."""
        if self._content_length is None or not self.payload_complete:
            return 0
        return self.payload_length(self._content_length) - self._scanner.length

    def feed(self, data: bytes) -> list[bytes | memoryview]:
        """
        Take the next chunk in, and return what of it belongs to the payload and may go on once `auth` is verified.

        A chunk wholly inside the payload is returned as it is, a part of one as a view. Raises Refusal, 422 for what
        is no valid envelope and 413 for what goes over a limit.
        """
        pieces: list[bytes | memoryview] = []
        position = 0
        if self._place == _Place.HEAD:
            position = self._read_head(data)
        if self._place == _Place.PAYLOAD and position < len(data):
            position = self._read_payload(data, position, pieces)
        if self._place in (_Place.CLOSE, _Place.END):
            self._read_tail(data, position)
        elif self._place == _Place.WHOLE:
            self._keep(data, position)
        return pieces

    def finish(self) -> bytes | None:
        """
        Check that the body ended where the envelope did, and return what the backend still has to get.

        That is the whole payload if nothing was `streaming`; the last byte, or white space up to the length that was
        told, if `content_length` was given; else None. Raises Refusal 422.
        """
        if self._place == _Place.WHOLE:
            envelope = unwrap_body(bytes(self._whole), self._max_cost)
            self.auth = envelope.auth
            self.session_id = envelope.session_id
            self.payload_complete = True
            return envelope.payload
        if self._place != _Place.END:
            raise invalid("the body ended before the envelope did")
        if self._content_length is None:
            return None
        if self._before + self._scanner.length + self._after != self._content_length:
            raise invalid("the body has not the length that was told")
        return self._held or b" " * self.padding

    def _read_head(self, data: bytes) -> int:
        """Read what stands before the payload; return how much of `data` that was, or was kept already."""
        members = self._members
        kept = len(members.kept)
        try:
            position = members.feed(data)
        finally:
            self.auth = members.auth
            self.session_id = members.session_id
        if position < 0:
            return len(data)
        if members.auth is None:
            self._place = _Place.WHOLE
            self._whole = members.kept
            return len(members.kept) - kept
        self._place = _Place.PAYLOAD
        self._before = kept + position
        members.resume()
        return position

    def _read_payload(self, data: bytes, start: int, pieces: list[bytes | memoryview]) -> int:
        """Add the payload's part of `data` to `pieces`; return the offset past it."""
        end = scan(self._scanner, data, start, len(data))
        if end < 0:
            end = len(data)
        else:
            self._place = _Place.CLOSE
            self.payload_complete = True
        stop = end
        if self._content_length is not None:
            room = self.payload_length(self._content_length) - self._scanner.length
            if room < 0:
                raise invalid("the body has no room for the envelope's end")
            if not room and start < stop:
                stop -= 1
                self._held = data[stop:end]
        if start == 0 and stop == len(data):
            pieces.append(data)
        elif start < stop:
            pieces.append(memoryview(data)[start:stop])
        return end

    def _read_tail(self, data: bytes, position: int) -> None:
        """Check what follows the payload: other members, and the envelope's end."""
        self._after += len(data) - position
        members = self._members
        members.feed(data[position:] if position else data)
        self.session_id = members.session_id
        if members.closed:
            self._place = _Place.END

    def _keep(self, data: bytes, position: int) -> None:
        if len(self._whole) + len(data) - position > self._max_unverified:
            raise too_large("a body whose payload comes before auth_data", self._max_unverified)
        self._whole += memoryview(data)[position:]
